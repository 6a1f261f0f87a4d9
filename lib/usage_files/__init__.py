"""Usage and costs in files of providers and other programs: one reader for whoever takes them in or compares them.

`source` reads rows, `table` says what form they have and which columns are ours, `numbers` and `values` read what
stands in them, `formats` and `adjust` know the forms, `model_ids` what consoles call models.
"""

from lib.usage_files.formats import FORMATS, GENERIC
from lib.usage_files.source import UsageFile

__all__ = ["FORMATS", "GENERIC", "UsageFile"]
