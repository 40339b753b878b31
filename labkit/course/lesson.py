"""What a notebook needs of a course: a start, predictions, instant checks.

None of it raises on a learner's mistake and none of it waits for an answer, so a notebook runs from top to bottom for
the stuck learner and for a headless run alike.
"""

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import torch

from labkit.course import exercises, headless
from labkit.course.exercises.checkers import Wrong
from labkit.latency.stopwatch import NoisyMachine
from labkit.system import storage
from labkit.system.device import device_name
from labkit.system.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """The message of `check`.

    Attributes:
        exercise: such as "e3.1".
        passed: True for a right answer.
        message: what to look at, or why the answer is right.
    """

    exercise: str
    passed: bool
    message: str

    def _repr_html_(self) -> str:
        mark, colour = ("✓ right", "#007A5A") if self.passed else ("✗ not yet", "#B34700")
        style = f"color:#fff;background:{colour};padding:0 .4em;border-radius:3px"  # legible on light and dark pages
        message = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(self.message))
        return f'<p><b style="{style}">{mark} ({self.exercise})</b> {message}</p>'

    def __repr__(self) -> str:
        return f"{'right' if self.passed else 'not yet'} ({self.exercise}): {self.message}"


def check(exercise: str, answer: Any) -> Verdict:
    """Evaluate an answer at once.

    It never raises for a wrong answer: it says what to look at, and the notebook runs on.

    Args:
        exercise: such as "e3.1".
        answer: mostly a function that the learner wrote.

    Returns:
        The verdict, which is remembered in the progress file.

    Raises:
        InputError: no exercise of this name.
    """
    checkers = exercises.CHECKERS
    if exercise not in checkers:
        raise InputError(f"exercises are {', '.join(sorted(checkers))}; got {exercise!r}")
    try:
        verdict = Verdict(exercise, True, checkers[exercise](answer))
    except Wrong as hint:
        verdict = Verdict(exercise, False, str(hint))
    except Exception as problem:  # a learner's function may raise anything, and the notebook must run on
        verdict = Verdict(exercise, False, f"your answer raised {type(problem).__name__}: {problem}")
    _remember("checks", exercise, verdict.passed)
    return verdict


def start(notebook: str, *, seed: int = 0) -> None:
    """Print what this machine is. Call it in the set-up cell.

    Args:
        notebook: its number, such as "03".
        seed: the notebook's seed, to be printed.
    """
    begun = time.perf_counter()
    warnings.formatwarning = _as_a_note
    device = device_name("cuda" if torch.cuda.is_available() else "cpu")
    print(f"labkit, notebook {notebook}, seed {seed}")
    threads = torch.get_num_threads()
    print(f"{device}, {threads} thread{'s' * (threads != 1)}, torch {torch.__version__}")
    print(f"ready in {time.perf_counter() - begun:.1f} s")


_usual_format = warnings.formatwarning


def _as_a_note(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
    """A machine that is not quiet is news for the learner, without the file and line that saw it."""
    return (
        f"note: {message}\n" if issubclass(category, NoisyMachine) else _usual_format(message, category, *where, **line)
    )


def copy_notebooks(folder: str | Path = "work") -> list[Path]:
    """Copy the notebooks that a folder lacks; those that are there stay.

    Args:
        folder: where the learner works.

    Returns:
        All of the learner's notebooks there.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = storage.writable_folder(folder)
    copies = [folder / notebook.name for notebook in headless.notebooks()]
    for copy in copies:
        if not copy.exists():
            shutil.copyfile(storage.NOTEBOOKS / copy.name, copy)
    return copies


def predict(prediction: str, question: str, options: Sequence[str]):
    """Ask for a guess before the cell that answers it. The notebook runs on without one.

    Args:
        prediction: its name, such as "p3.1"; `reveal` takes the same.
        question: the question.
        options: the answers to choose from.

    Returns:
        The question as radio buttons.
    """
    import ipywidgets

    radio = ipywidgets.RadioButtons(options=list(options), value=None, description="", layout={"width": "auto"})
    radio.observe(lambda change: _remember("predictions", prediction, change["new"]), "value")
    question_html = f"<b>Predict ({prediction}).</b> {escape(question)}"

    class Question(ipywidgets.VBox):
        def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
            """With the question as HTML, for readers without a kernel."""
            bundle = super()._repr_mimebundle_(**kwargs)
            data, about = bundle if isinstance(bundle, tuple) else (bundle, {})
            choices = "".join(f"<li>{escape(option)}</li>" for option in options)
            return {**data, "text/html": f"<p>{question_html}</p><ul>{choices}</ul>"}, about

    return Question([ipywidgets.HTML(question_html), radio])


def reveal(prediction: str, outcome: str) -> None:
    """Print the outcome, and the guess that was made in `predict`.

    Args:
        prediction: its name, such as "p3.1".
        outcome: what the run came to.
    """
    guess = _progress().get("predictions", {}).get(prediction)
    guess_text = "You made no prediction." if guess is None else f"You predicted: {guess}."
    print(f"{guess_text} The run says: {outcome}.")


def progress_file() -> Path:
    """Find the file of guesses and passed checks: the learner's own, never sent anywhere.

    Returns:
        The path of `LABKIT_PROGRESS`, or by default one in the course's or the user's folder; the file need not exist.
    """
    folder = Path.home() / ".cache" / "labkit" if storage.INSTALLED else storage.ROOT / "work"
    return Path(os.environ.get("LABKIT_PROGRESS") or folder / "progress.json")


def _progress() -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(progress_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing yet, or a file that was cut short: the course does without it
    return value if isinstance(value, dict) else {}


def _remember(kind: str, key: str, value: Any) -> None:
    progress = _progress()
    progress.setdefault(kind, {})[key] = value
    try:
        storage.write_json(progress_file(), progress)
    except (InputError, OSError):
        pass  # a read-only course folder costs the memory, not the lesson
