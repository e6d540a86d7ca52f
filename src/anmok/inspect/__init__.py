"""Find faults from pictures of good parts only, or from the name of the part: `anmok inspect`.

>>> import numpy as np
>>> from anmok.inspect import Inspector
>>> Inspector.__name__
'Inspector'
"""

from anmok.inspect.conformal import Drift
from anmok.inspect.inspection import Box, Inspection
from anmok.inspect.inspector import Inspector
from anmok.inspect.overlay import heat_layer, overlay
from anmok.inspect.words import WordInspector

__all__ = ["Box", "Drift", "Inspection", "Inspector", "WordInspector", "heat_layer", "overlay"]
