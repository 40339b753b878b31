"""Search spaces and architectures, as plain data.

A space is edges between states, from the image to a fixed head: a chain, or cells whose nodes choose what they read.
"""

from functools import partial

from labkit.errors import unknown
from labkit.spaces.chains import five_layer as five_layer
from labkit.spaces.chains import mobile as mobile
from labkit.spaces.choices import Architecture as Architecture
from labkit.spaces.choices import Choices as Choices
from labkit.spaces.darts import CELLS as CELLS
from labkit.spaces.darts import cells as cells
from labkit.spaces.search_space import Edge as Edge
from labkit.spaces.search_space import SearchSpace as SearchSpace
from labkit.spaces.search_space import Term as Term
from labkit.spaces.search_space import gated as gated

SPACES = {
    "five_layer": five_layer,
    "mobile-tiny": mobile,
    "mobile-full": partial(mobile, "full"),
    **{f"cells-{size}": partial(cells, size) for size in CELLS},
}


def by_name(name: str, classes: int = 10) -> SearchSpace:
    """The space that is called `name` on the command line and in saved files."""
    if name not in SPACES:
        raise unknown("spaces are", name, SPACES)
    return SPACES[name](classes=classes)
