"""The spaces by name."""

from functools import partial

from labkit.spaces.cells import CELLS, cells
from labkit.spaces.chains import five_layer, mobile
from labkit.spaces.search_space import SearchSpace
from labkit.system.errors import unknown

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
