"""Collections: folders of pictures, indexed once and searched by words, by pictures, and by both.

Collection(path, encoder=...)    add_folder, add, delete, search, near_duplicates, re_encode, ...
parse_query(text)                "2:red bag + photo.jpg - leather" → weighted terms
"""

from anmok.collections.batch import Failure, IndexReport
from anmok.collections.collection import Collection, CollectionStats
from anmok.collections.comparison import Comparison
from anmok.collections.duplicates import DuplicateGroup
from anmok.collections.hit import Hit
from anmok.collections.query import Term, format_query, parse_query, query_vector

__all__ = [
    "Collection",
    "CollectionStats",
    "Comparison",
    "DuplicateGroup",
    "Failure",
    "Hit",
    "IndexReport",
    "Term",
    "format_query",
    "parse_query",
    "query_vector",
]
