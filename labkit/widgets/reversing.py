"""Two architectures that change places between tables."""

import itertools
from typing import Any

import anywidget
import traitlets

from labkit import plots
from labkit.latency import reversals
from labkit.system.errors import InputError
from labkit.widgets.base import with_html


class ReversalExplorer(anywidget.AnyWidget):
    """The same architectures in the order of two tables: drag A and B along them, and see whether they swap.

    Drawn in the browser by reversals.js. It begins with the first two sides and the two fastest of the left.

    Args:
        record: the architectures and their latencies on each side.

    Attributes:
        left: index of the side on the left.
        right: index of the side on the right.
        a: index of the architecture A.
        b: index of the architecture B.
    """

    _esm = reversals.MODULE.read_text(encoding="utf-8")
    data = traitlets.Dict().tag(sync=True)  # RankReversals.for_browser
    left = traitlets.Int().tag(sync=True)
    right = traitlets.Int().tag(sync=True)
    a = traitlets.Int().tag(sync=True)
    b = traitlets.Int().tag(sync=True)

    def __init__(self, record: reversals.RankReversals):
        self.reversals = record
        places = record.sides[0].places
        super().__init__(data=record.for_browser(), left=0, right=1, a=places.index(0), b=places.index(1))

    @traitlets.validate("left", "right", "a", "b")
    def _check_index(self, proposal: Any) -> int:
        name, index = proposal["trait"].name, proposal["value"]
        count = len(self.reversals.sides) if name in ("left", "right") else self.reversals.architectures
        if not 0 <= index < count:
            raise InputError(f"{name} is an index, 0 to {count - 1}; got {index}")
        return index

    @property
    def swapped(self) -> bool:
        """Whether A is the faster on one side and B on the other."""
        return self.reversals.swaps(self.left, self.right, self.a, self.b)

    @property
    def chosen(self) -> tuple[str, str]:
        """The labels of A and B."""
        return self.reversals.labels[self.a], self.reversals.labels[self.b]

    def picture(self) -> plots.Picture:
        """Draw the static picture.

        Returns:
            The picture, whose text alternative says whether A and B swap.
        """
        shown = self.left, self.right, self.a, self.b
        return plots.picture(plots.rank_reversals(self.reversals, *shown), self.reversals.words(*shown))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return with_html(super()._repr_mimebundle_(**kwargs), self.picture()._repr_html_())

    def check_all(self) -> None:
        """Try every pair of sides and every architecture as A and as B; then return to the choice before.

        Raises:
            Exception: the first that an option raises.
        """
        before = self.left, self.right, self.a, self.b
        for left, right in itertools.product(range(len(self.reversals.sides)), repeat=2):
            self.left, self.right = left, right
            self.picture()
        for i in range(self.reversals.architectures):
            self.a, self.b = i, self.reversals.architectures - 1 - i
            self.reversals.words(self.left, self.right, self.a, self.b)
        self.left, self.right, self.a, self.b = before
