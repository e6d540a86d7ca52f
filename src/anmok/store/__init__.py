"""Vectors and their metadata on disk, exact and approximate nearest neighbours.

Knows nothing of pictures or labels: label sets and picture collections are both stores.
"""

from anmok.store.documents import Documents
from anmok.store.repair import CheckReport
from anmok.store.salvage import RecoverReport, recover
from anmok.store.store import Store
from anmok.store.types import Item, Match, Pair, StoreLimits, StoreStats

__all__ = [
    "CheckReport",
    "Documents",
    "Item",
    "Match",
    "Pair",
    "RecoverReport",
    "Store",
    "StoreLimits",
    "StoreStats",
    "recover",
]
