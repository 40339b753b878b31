"""Named choices, and the picture of what was chosen."""

import traceback
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import ipywidgets
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit import plots
from labkit.system.errors import InputError
from labkit.widgets.base import with_html

DROPDOWN_MOST = 12  # options; more are quicker to find with a slider beside the list


def switch(
    label: str,
    options: Iterable[Any] | Mapping[str, Any],
    render: Callable[[Any], Any],
    value: Any = None,
    *,
    alt: str | Callable[[Any], str] | None = None,
) -> "Switch":
    """Make a control called `label`, and under it the picture that `render(option)` makes of the chosen option.

    Args:
        label: name of the control.
        options: values shown by their `str`, or a mapping from the text shown to the value.
        render: returns HTML, a plots.Picture, or a matplotlib Figure or Axes.
        value: the option to begin with; by default the first. Its picture is made here, so that an error is the cell's.
        alt: the text that stands for a Figure or Axes, or a function option -> text.

    Returns:
        The control with its picture; `.value` is the chosen option.

    Raises:
        InputError: no option, an unknown `value`, or a picture without text or of another kind.
    """
    return Switch(label, options, render, value, alt)


def switches(
    controls: Mapping[str, Iterable[Any] | Mapping[str, Any]],
    render: Callable[..., Any],
    values: Mapping[str, Any] | None = None,
    *,
    alt: str | Callable[..., str] | None = None,
) -> "Switches":
    """Make several controls over one picture.

    Args:
        controls: label -> options, as in `switch`.
        render: called with one option a control, in the order of `controls`; it returns what it does in `switch`.
        values: label -> the option to begin with, for those that do not begin with their first.
        alt: the text that stands for a Figure or Axes, or a function of the options.

    Returns:
        The controls with their picture; `.values` are the chosen options.

    Raises:
        InputError: no option, an unknown label or value, or a picture without text or of another kind.
    """
    return Switches(controls, render, values or {}, alt)


class Switches(ipywidgets.VBox):
    """Several controls over one picture, as `switches` makes them.

    Args:
        controls: label -> options.
        render: called with one option a control; it returns the picture.
        values: label -> the option to begin with.
        alt: the text that stands for a Figure or Axes, or a function of the options.
    """

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
        """Label -> the option chosen."""
        return {label: control.value for label, control in self._controls.items()}

    def set(self, label: str, value: Any) -> None:
        """Choose an option, as the reader's click does, and draw.

        Args:
            label: the control.
            value: the option.

        Raises:
            InputError: the control has no such option.
        """
        self._controls[label].value = self._known(label, value)

    @property
    def html(self) -> str:
        """The picture now shown."""
        return self._picture.value

    @property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """The errors that callbacks raised, as notebook outputs of type "error"."""
        return self._errors.outputs

    def check_all(self) -> None:
        """Draw every option of each control, with the first and with the last options of the others.

        What is shown stays.

        Raises:
            Exception: the first that `render` raises.
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
                f"the render function of {self._listed(self._options)!r} returned {type(made).__name__} for "
                f"{self._listed(chosen)}; return HTML text, a labkit picture or a matplotlib Figure"
            )
        alt = self._alt(*chosen) if callable(self._alt) else self._alt
        if not alt:
            raise InputError(
                f"the figure of {self._listed(self._options)!r} has no text for those who cannot see it; pass alt="
            )
        return plots.picture(made, alt)._repr_html_()

    @staticmethod
    def _listed(things: Iterable[Any]) -> str:
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
            words = f"No picture of {self._listed(chosen)}. {type(problem).__name__}: {problem}"
            self._picture.value = f'<p role="alert"><b>{escape(words)}</b></p>'
            self._errors.outputs += (_as_output(problem),)
            self._errors.layout.display = None

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | dict | None:
        return with_html(super()._repr_mimebundle_(**kwargs), self.html)


class Switch(Switches):
    """A single control over one picture, as `switch` makes it; setting `.value` draws.

    Args:
        label: name of the control.
        options: its options, or their labels with the options.
        render: called with the option; it returns the picture.
        value: the option to begin with; None for the first.
        alt: the text that stands for a Figure or Axes, or a function of the option.
    """

    def __init__(self, label: str, options: Any, render: Callable, value: Any, alt: Any):
        self.label = label
        super().__init__({label: options}, render, {} if value is None else {label: value}, alt)

    @property
    def value(self) -> Any:
        """The chosen option."""
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
