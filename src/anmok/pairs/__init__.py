"""Pictures with texts from everywhere, as one kind of source.

open_pairs(where)              tar shards, tables, folders, Hugging Face layouts, saved pages, web archives → PairSource
source.read(number)            any Pair of it, at once and in any order; or PairError
source.problems                what could not be used, and why
write_shards(pairs, folder)    pairs → WebDataset shards
"""

from anmok.pairs.opening import open_pairs
from anmok.pairs.options import KINDS
from anmok.pairs.pair import Pair, PairError, PairSource, Problem, Shard, SourceError
from anmok.pairs.write import write_shards

__all__ = [
    "KINDS",
    "Pair",
    "PairError",
    "PairSource",
    "Problem",
    "Shard",
    "SourceError",
    "open_pairs",
    "write_shards",
]
