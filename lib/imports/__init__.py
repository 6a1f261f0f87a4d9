"""Past usage from other programs' exports, brought into the ledger in batches that can be undone."""

from lib.imports.batch import ImportBatch, ImportPreview, Wishes
from lib.imports.imports import Imports
from lib.usage_files import FORMATS, GENERIC, UsageFile

__all__ = ["FORMATS", "GENERIC", "ImportBatch", "ImportPreview", "Imports", "UsageFile", "Wishes"]
