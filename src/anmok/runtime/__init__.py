"""Which engine runs the towers, with what precision and how many threads."""

from anmok.runtime.towers import ENGINES, PRECISIONS, Towers, open_towers

__all__ = ["ENGINES", "PRECISIONS", "Towers", "open_towers"]
