"""Being stopped: by Ctrl-C, a notebook's stop button, or SIGTERM as `docker stop` and batch systems send it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """An interrupt that says how far the work came.

    `of_the_call` says what is kept and what the same *call* does: whoever runs it for a command says that of the
    command in its place.
    """

    def __init__(self, came: str, of_the_call: str = ""):
        super().__init__("; ".join(filter(None, (came, of_the_call))))
        self.came, self.of_the_call = came, of_the_call


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Inside the block the first Ctrl-C (or stop button) waits; the function given says whether there was one.

    The second acts at once. Outside the main thread, where Python delivers none, and where a program that holds Python
    answers itself, nothing changes.
    """
    asked = threading.Event()
    if not _answered_here(signal.SIGINT):
        yield asked.is_set
        return

    def note(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def termination_interrupts() -> Iterator[Callable[[], bool]]:
    """Inside the block SIGTERM does what Ctrl-C does; the function given says whether there was one.

    Outside the main thread, and where a program that holds Python answers itself, nothing changes.
    """
    asked = threading.Event()
    if not _answered_here(signal.SIGTERM):
        yield asked.is_set
        return

    def interrupt(_: int, frame: FrameType | None) -> None:
        asked.set()
        on_interrupt = signal.getsignal(signal.SIGINT)
        if callable(on_interrupt):
            on_interrupt(signal.SIGINT, frame)
        else:  # a script's background job ignores Ctrl-C
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _answered_here(number: signal.Signals) -> bool:
    """Whether Python may change the answer to a signal, and could put back the one before."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) is not None
