"""What the tests of this room share."""

import pytest

from anmok.pairs.options import checked
from anmok.pairs.problems import Problems


@pytest.fixture
def options():
    """The options that `open_pairs` has by default."""
    return checked("auto", image_key="filepath", text_key="title", separator="\t", templates="small", encoding="utf-8")


@pytest.fixture
def problems():
    """A list that readers add to."""
    return Problems()
