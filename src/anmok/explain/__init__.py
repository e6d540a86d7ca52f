"""Where a score comes from: heat maps over pictures, and what each word of a text adds.

explain(encoder, picture, target)            → HeatMap, for a text or another picture
explain_text(encoder, picture, text)         → [(word, what it adds), …]
judge                                        how good a map is
"""

from anmok.explain.heatmap import HeatMap
from anmok.explain.overlay import scale
from anmok.explain.picture import METHODS, chosen, explain, methods_of
from anmok.explain.words import explain_text

__all__ = ["METHODS", "HeatMap", "chosen", "explain", "explain_text", "methods_of", "scale"]
