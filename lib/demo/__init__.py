"""Sample data: a realistic year of usage, marked `batch_id = 'demo'`, loaded and removed in one step."""

from lib.demo.catalogue import BATCH, demo_user_names
from lib.demo.demo import Demo

__all__ = ["BATCH", "Demo", "demo_user_names"]
