"""The explorer: a weight, a target or a deadline is dragged, and what it chooses is shown."""

import math
from typing import Any

import anywidget
import traitlets

from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.base import with_html


def explore(scene: explorer.Scene, weight: float | None = None) -> "Explorer":
    """Make an explorer: drag the latency weight or a target, or click a point, and see what is chosen.

    The next cell may use the choice: `.architecture`, `.point`, `.selection`, `.weight`.

    Args:
        scene: the architectures.
        weight: latency weight to begin with, in error fraction per ms; by default one that chooses the middle.

    Returns:
        The explorer.

    Raises:
        InputError: the weight is negative or not finite.
    """
    return Explorer(scene, weight)


class Explorer(anywidget.AnyWidget):
    """The explorer in the browser, drawn by explorer.js from `data`; the other traits go both ways.

    In the modes "weight", "target" and "deadline" the selection follows from the weight and the target, as
    `explorer.choose` has it; a deadline is the target with an infinite weight. Setting another selection is the mode
    "hand".

    Attributes:
        scene: the architectures.
        weight: latency weight, in error fraction per ms.
        target_ms: target or deadline, in ms; it counts in these two modes.
        mode: "weight", "target", "deadline" or "hand".
        selection: index of the chosen point in `scene.points`.
    """

    _esm = explorer.MODULE.read_text(encoding="utf-8")
    data = traitlets.Dict().tag(sync=True)  # explorer.for_browser
    weight = traitlets.Float().tag(sync=True)  # error fraction per ms
    target_ms = traitlets.Float().tag(sync=True)  # counts in the modes "target" and "deadline"
    mode = traitlets.Enum(("weight", "target", "deadline", "hand")).tag(sync=True)
    selection = traitlets.Int().tag(sync=True)  # index into scene.points

    def __init__(self, scene: explorer.Scene, weight: float | None = None):
        self.scene = scene
        weight = explorer.default_weight(scene) if weight is None else explorer.check_weight(weight)
        super().__init__(
            data=explorer.for_browser(scene),
            weight=weight,
            target_ms=explorer.default_target(scene),
            mode="weight",
            selection=explorer.choose(scene, weight),
        )

    @property
    def point(self) -> explorer.ScenePoint:
        """The current selection, with its error and milliseconds."""
        return self.scene.points[self.selection]

    @property
    def architecture(self) -> tuple[str, ...]:
        """One operation a layer, of the current selection."""
        return self.point.ops

    @traitlets.validate("weight")
    def _check_weight(self, proposal: Any) -> float:
        return explorer.check_weight(proposal["value"])

    @traitlets.validate("target_ms")
    def _check_target(self, proposal: Any) -> float | None:
        return explorer.check_target(proposal["value"])

    @traitlets.validate("selection")
    def _check_selection(self, proposal: Any) -> int:
        index, count = proposal["value"], len(self.scene.points)
        if not 0 <= index < count:
            raise InputError(f"a selection is the index of a point, 0 to {count - 1}, not {index}")
        return index

    @traitlets.observe("weight", "target_ms", "mode")
    def _follow(self, _: Any) -> None:
        if self.mode != "hand":
            self.selection = self._choice()

    @traitlets.observe("selection")
    def _by_hand(self, _: Any) -> None:
        if self.mode != "hand" and self.selection != self._choice():
            self.mode = "hand"

    def _choice(self) -> int:
        return explorer.choose(self.scene, *self._wanted())

    def _wanted(self) -> tuple[float, float | None]:
        """The weight and the target of the mode; an infinite weight is a deadline."""
        weight = math.inf if self.mode == "deadline" else self.weight
        return weight, None if self.mode == "weight" else self.target_ms

    def picture(self) -> str:
        """Draw the static picture.

        Returns:
            An HTML figure of the present choice.
        """
        if self.mode == "hand":
            return explorer.static_picture(self.scene, selection=self.selection)
        return explorer.static_picture(self.scene, *self._wanted())

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return with_html(super()._repr_mimebundle_(**kwargs), self.picture())

    def check_all(self) -> None:
        """Try every stop of every slider and every point by hand; then return to the choice before.

        Raises:
            Exception: the first that an option raises.
        """
        before = {name: getattr(self, name) for name in ("weight", "target_ms", "mode", "selection")}
        self.mode = "weight"
        for weight in self.data["stops"]:
            self.weight = weight
            self.picture()
        for mode in ("target", "deadline"):
            self.mode = mode
            for index in self.data["frontier"]:
                self.target_ms = self.scene.points[index].ms
                self.picture()
        for index in range(len(self.scene.points)):
            self.selection = index
            self.picture()
        with self.hold_trait_notifications():
            for name, value in before.items():
                setattr(self, name, value)
