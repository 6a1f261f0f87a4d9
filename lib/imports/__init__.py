"""Past usage from other programs' exports, brought into the ledger in batches that can be undone."""

from lib.imports.batch import Batch, Preview, Wishes
from lib.imports.formats import FORMATS, GENERIC
from lib.imports.imports import Imports
from lib.imports.source import Source

__all__ = ["FORMATS", "GENERIC", "Batch", "Imports", "Preview", "Source", "Wishes"]
