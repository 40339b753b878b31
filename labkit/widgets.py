"""The controls of the notebooks. They need ipywidgets and anywidget, which `import labkit` does without.

Every widget leaves a static picture in the cell's output, for readers without a kernel, and `check_all`
drives each through everything a reader can choose, so that a callback that raises is found before they do.
"""

import itertools
import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import anywidget
import ipywidgets
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit import explorer, flips, plots, replays
from labkit.errors import InputError

DROPDOWN_MOST = 12  # options; more are quicker to find with a slider beside the list


# ---- the explorer --------------------------------------------------------------------------------------


def explore(scene: explorer.Scene, weight: float | None = None) -> "Explorer":
    """Drag the latency weight or a target, or click a point, and see what is chosen.

    The next cell may use the choice: `.architecture`, `.point`, `.selection`, `.weight`.
    """
    return Explorer(scene, weight)


class Explorer(anywidget.AnyWidget):
    """Drawn in the browser by static/explorer.js from `data`; the rest goes both ways.

    In the modes "weight", "target" and "deadline" the selection follows from the weight and the target, as
    `explorer.choose` says; a deadline is the target, and no weight buys more. Setting another selection is choosing by
    "hand".
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
        return self.scene.points[self.selection]

    @property
    def architecture(self) -> tuple[str, ...]:
        """One operation a layer, of the current selection."""
        return self.point.ops

    @traitlets.validate("weight")
    def _check_weight(self, proposal: Any) -> float:
        return explorer.check_weight(proposal["value"])

    @traitlets.validate("target_ms")
    def _check_target(self, proposal: Any) -> float:
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
        return explorer.choose(self.scene, *self._asked())

    def _asked(self) -> tuple[float, float | None]:
        """The weight and the target of the mode; an infinite weight is a deadline."""
        weight = math.inf if self.mode == "deadline" else self.weight
        return weight, None if self.mode == "weight" else self.target_ms

    def picture(self) -> str:
        """The static twin, as HTML."""
        if self.mode == "hand":
            return explorer.static_picture(self.scene, selection=self.selection)
        return explorer.static_picture(self.scene, *self._asked())

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return _with_html(super()._repr_mimebundle_(**kwargs), self.picture())

    def check_all(self) -> None:
        """Every stop of every slider, and every point by hand; then back to where it was."""
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


# ---- two architectures that change places ---------------------------------------------------------------


class FlipExplorer(anywidget.AnyWidget):
    """The same architectures in the order of two tables: drag A and B along them, and see whether they swap.

    Drawn in the browser by static/flips.js; `.left` and `.right` are the sides, `.a` and `.b` the architectures.
    Begins with the first two sides and the two fastest of the left.
    """

    _esm = flips.MODULE.read_text(encoding="utf-8")
    data = traitlets.Dict().tag(sync=True)  # Flips.for_browser
    left = traitlets.Int().tag(sync=True)
    right = traitlets.Int().tag(sync=True)
    a = traitlets.Int().tag(sync=True)
    b = traitlets.Int().tag(sync=True)

    def __init__(self, made: flips.Flips):
        self.flips = made
        places = made.sides[0].places
        super().__init__(data=made.for_browser(), left=0, right=1, a=places.index(0), b=places.index(1))

    @traitlets.validate("left", "right", "a", "b")
    def _check_index(self, proposal: Any) -> int:
        name, index = proposal["trait"].name, proposal["value"]
        count = len(self.flips.sides) if name in ("left", "right") else self.flips.architectures
        if not 0 <= index < count:
            raise InputError(f"{name} is an index, 0 to {count - 1}; got {index}")
        return index

    @property
    def swapped(self) -> bool:
        return self.flips.swaps(self.left, self.right, self.a, self.b)

    @property
    def chosen(self) -> tuple[str, str]:
        """The labels of A and B."""
        return self.flips.labels[self.a], self.flips.labels[self.b]

    def picture(self) -> plots.Picture:
        """The static twin."""
        shown = self.left, self.right, self.a, self.b
        return plots.picture(plots.flips(self.flips, *shown), self.flips.words(*shown))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return _with_html(super()._repr_mimebundle_(**kwargs), self.picture()._repr_html_())

    def check_all(self) -> None:
        """Every pair of sides, every architecture as A and as B; then back to where it was."""
        before = self.left, self.right, self.a, self.b
        for left, right in itertools.product(range(len(self.flips.sides)), repeat=2):
            self.left, self.right = left, right
            self.picture()
        for i in range(self.flips.architectures):
            self.a, self.b = i, self.flips.architectures - 1 - i
            self.flips.words(self.left, self.right, self.a, self.b)
        self.left, self.right, self.a, self.b = before


# ---- a search told again ---------------------------------------------------------------------------------


class Replayer(anywidget.AnyWidget):
    """A search, step by step: drag, or let it play. `.step` counts from 0.

    Drawn in the browser by static/replay.js; begins with the last step.
    """

    _esm = replays.MODULE.read_text(encoding="utf-8")
    data = traitlets.Dict().tag(sync=True)  # Replay.for_browser
    step = traitlets.Int().tag(sync=True)

    def __init__(self, made: replays.Replay):
        self.replay = made
        super().__init__(data=made.for_browser(), step=len(made.history) - 1)

    @traitlets.validate("step")
    def _check_step(self, proposal: Any) -> int:
        step, count = proposal["value"], len(self.replay.history)
        if not 0 <= step < count:
            raise InputError(f"the steps are 0 to {count - 1}; got {step}")
        return step

    @property
    def architecture(self) -> tuple[str, ...]:
        """The most probable operation of each slot after the step."""
        return self.replay.favourite(self.step)

    def picture(self) -> plots.Picture:
        """The static twin."""
        return plots.picture(plots.replay(self.replay, self.step), self.replay.words(self.step))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return _with_html(super()._repr_mimebundle_(**kwargs), self.picture()._repr_html_())

    def check_all(self) -> None:
        """Every step, and the picture of some; then back to where it was."""
        before, count = self.step, len(self.replay.history)
        for step in range(count):
            self.step = step
            self.replay.words(step), self.replay.drawn(step)
        for step in {0, count // 2, count - 1}:
            self.step = step
            self.picture()
        self.step = before


# ---- named choices and the picture of them -------------------------------------------------------------


def switch(
    label: str,
    options: Iterable[Any] | Mapping[str, Any],
    render: Callable[[Any], Any],
    value: Any = None,
    *,
    alt: str | Callable[[Any], str] | None = None,
) -> "Switch":
    """A control called `label` and under it the picture that `render(option)` makes of the option chosen.

    options: values shown by their `str`, or a mapping from the text shown to the value.
    render: returns HTML, a plots.Picture, or a matplotlib Figure or Axes; for these two `alt` is needed,
      the text that stands for the figure or a function option -> text.
    value: the option to begin with, else the first. Its picture is made here, so that an error is the cell's.
    """
    return Switch(label, options, render, value, alt)


def switches(
    controls: Mapping[str, Iterable[Any] | Mapping[str, Any]],
    render: Callable[..., Any],
    values: Mapping[str, Any] | None = None,
    *,
    alt: str | Callable[..., str] | None = None,
) -> "Switches":
    """Several controls over one picture: `render(*options)` with one option a control, in the order of `controls`.

    controls: label -> options, as in `switch`.
    values: label -> the option to begin with, for those that do not begin with their first.
    """
    return Switches(controls, render, values or {}, alt)


class Switches(ipywidgets.VBox):
    """What `switches` returns. `.values` are the options chosen; `set` draws, as the reader's click does."""

    def __init__(self, controls: Mapping[str, Any], render: Callable, values: Mapping[str, Any], alt: Any):
        self._render, self._alt = render, alt
        self._options = {label: _named(options, label) for label, options in controls.items()}
        for label in values:
            if label not in self._options:
                raise InputError(f"the controls are {', '.join(self._options)}; got {label!r}")
        first = {label: options[0][1] for label, options in self._options.items()}
        start = first | {label: self._known(label, value) for label, value in values.items()}
        self._picture = ipywidgets.HTML(self._draw(*start.values()))
        self._errors = ipywidgets.Output(layout={"display": "none"})
        self._controls, shown = {}, []
        for label, options in self._options.items():
            self._controls[label], visible = _controls(label, options, start[label])
            self._controls[label].observe(self._show, "value")
            shown.append(visible)
        top = shown[0] if len(shown) == 1 else ipywidgets.HBox(shown, layout={"flex_flow": "row wrap"})
        super().__init__([top, self._picture, self._errors])

    @property
    def values(self) -> dict[str, Any]:
        return {label: control.value for label, control in self._controls.items()}

    def set(self, label: str, value: Any) -> None:
        """Choose `value` in the control called `label`."""
        self._controls[label].value = self._known(label, value)

    @property
    def html(self) -> str:
        """The picture now shown."""
        return self._picture.value

    @property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """What callbacks raised, as notebook outputs of type "error"."""
        return self._errors.outputs

    def check_all(self) -> None:
        """Draw every option of each control, beside the first and beside the last options of the others, and raise the
        first error; what is shown stays.
        """
        every = [[option for _, option in options] for options in self._options.values()]
        places: dict[tuple[int, ...], None] = {}
        for corner in ([0] * len(every), [len(options) - 1 for options in every]):
            for i, options in enumerate(every):
                places.update(dict.fromkeys((*corner[:i], place, *corner[i + 1 :]) for place in range(len(options))))
        for chosen in places:
            self._draw(*(options[place] for options, place in zip(every, chosen)))

    def _known(self, label: str, value: Any) -> Any:
        options = self._options[label]
        if not any(value == option for _, option in options):
            raise InputError(f"{label} is one of {', '.join(name for name, _ in options)}; got {value!r}")
        return value

    def _draw(self, *chosen: Any) -> str:
        made = self._render(*chosen)
        if isinstance(made, str):
            return made
        if isinstance(made, plots.Picture):
            return made._repr_html_()
        if not isinstance(made, Figure | Axes):
            raise InputError(
                f"the render function of {self._said(self._options)!r} returned {type(made).__name__} for "
                f"{self._said(chosen)}; return HTML text, a labkit picture or a matplotlib Figure"
            )
        alt = self._alt(*chosen) if callable(self._alt) else self._alt
        if not alt:
            raise InputError(
                f"the figure of {self._said(self._options)!r} has no text for those who cannot see it; pass alt="
            )
        return plots.picture(made, alt)._repr_html_()

    @staticmethod
    def _said(things: Iterable[Any]) -> str:
        return ", ".join(map(str, things))

    def _show(self, _: Any) -> None:
        """Draw; an error is shown as text and recorded, for in a callback nobody would see it raised.

        The record stays when a later picture works: the headless runner looks for it in the saved state.
        """
        chosen = tuple(self.values.values())
        try:
            self._picture.value = self._draw(*chosen)
            self._errors.layout.display = "none"
        except Exception as problem:
            words = f"No picture of {self._said(chosen)}. {type(problem).__name__}: {problem}"
            self._picture.value = f'<p role="alert"><b>{escape(words)}</b></p>'
            self._errors.outputs += (_as_output(problem),)
            self._errors.layout.display = None

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | dict | None:
        return _with_html(super()._repr_mimebundle_(**kwargs), self.html)


class Switch(Switches):
    """What `switch` returns: a single control. `.value` is the option chosen; setting it draws."""

    def __init__(self, label: str, options: Any, render: Callable, value: Any, alt: Any):
        self.label = label
        super().__init__({label: options}, render, {} if value is None else {label: value}, alt)

    @property
    def value(self) -> Any:
        return self._controls[self.label].value

    @value.setter
    def value(self, value: Any) -> None:
        self.set(self.label, value)


def _named(options: Any, label: str) -> list[tuple[str, Any]]:
    pairs = list(options.items()) if isinstance(options, Mapping) else [(str(option), option) for option in options]
    if not pairs:
        raise InputError(f"a switch needs at least one option, and the options of {label!r} are empty")
    return pairs


def _controls(label: str, options: list[tuple[str, Any]], value: Any) -> tuple[Any, ipywidgets.Widget]:
    """(the control that holds the value, what to show).

    A list tells a screen reader its name and its option; a slider of ipywidgets tells neither. So many
    options get a slider to drag, and keep the list: for those who listen, and as the slider's reading.
    """
    style = {"description_width": "initial"}
    layout = {"width": "max-content"}  # a long label would otherwise leave no room for the option
    listed = ipywidgets.Dropdown(options=options, value=value, description=label, style=style, layout=layout)
    if len(options) <= DROPDOWN_MOST:
        return listed, listed
    slider = ipywidgets.SelectionSlider(options=options, value=value, readout=False)
    traitlets.link((slider, "index"), (listed, "index"))
    return listed, ipywidgets.HBox([listed, slider])


def _as_output(problem: Exception) -> dict[str, Any]:
    return {
        "output_type": "error",
        "ename": type(problem).__name__,
        "evalue": str(problem),
        "traceback": [line.rstrip("\n") for line in traceback.format_exception(problem)],
    }


# ---- for all of them -----------------------------------------------------------------------------------


def check_all(widget: ipywidgets.Widget) -> None:
    """Drive `widget`, or every widget inside it, through all its options; raises the first error."""
    own = getattr(widget, "check_all", None)
    if own is not None:
        own()
        return
    for child in getattr(widget, "children", ()):
        check_all(child)


def _with_html(bundle: Any, html: str) -> tuple[dict, dict] | None:
    """The widget's mime bundle and the static picture, which front ends fall back to."""
    if bundle is None:
        return None
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    return {**data, "text/html": html}, metadata
