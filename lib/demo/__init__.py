"""Sample data: a realistic year of usage, marked `batch_id = 'demo'`, loaded and removed in one step."""

from lib.demo.catalogue import BATCH, name_demo_users
from lib.demo.demo import Demo

__all__ = ["BATCH", "Demo", "name_demo_users"]
