"""A search replayed."""

from typing import Any

import anywidget
import traitlets

from labkit import plots
from labkit.oneshot import replays
from labkit.system.errors import InputError
from labkit.widgets.base import with_html


class Replayer(anywidget.AnyWidget):
    """A search, step by step: drag, or let it play.

    Drawn in the browser by replay.js; it begins with the last step.

    Args:
        record: the search.

    Attributes:
        step: number of the step, from 0.
    """

    _esm = replays.MODULE.read_text(encoding="utf-8")
    data = traitlets.Dict().tag(sync=True)  # Replay.for_browser
    step = traitlets.Int().tag(sync=True)

    def __init__(self, record: replays.Replay):
        self.replay = record
        super().__init__(data=record.for_browser(), step=len(record.history) - 1)

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
        """Draw the static picture.

        Returns:
            The picture of the present step.
        """
        return plots.picture(plots.replay(self.replay, self.step), self.replay.words(self.step))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        return with_html(super()._repr_mimebundle_(**kwargs), self.picture()._repr_html_())

    def check_all(self) -> None:
        """Try every step, and the picture of some; then return to the step before.

        Raises:
            Exception: the first that a step raises.
        """
        before, count = self.step, len(self.replay.history)
        for step in range(count):
            self.step = step
            self.replay.words(step), self.replay.drawn(step)
        for step in {0, count // 2, count - 1}:
            self.step = step
            self.picture()
        self.step = before
