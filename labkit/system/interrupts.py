"""Interrupts: Ctrl-C, a notebook's stop button, and SIGTERM as `docker stop` and batch systems send it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """An interrupt whose message gives the progress of the work and how to resume it.

    Args:
        progress: how far the work came, such as "stopped after step 150".
        resume: what is kept and what the same call does next. The command line replaces it by what the same command
            does.
    """

    def __init__(self, progress: str, resume: str = ""):
        super().__init__("; ".join(filter(None, (progress, resume))))
        self.progress, self.resume = progress, resume


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Delay the first Ctrl-C (or stop button) inside the block. The second one interrupts at once.

    Nothing changes outside the main thread, where Python delivers no signals, nor where a program that embeds Python
    handles them itself.

    Yields:
        A function that returns whether an interrupt is waiting.
    """
    requested = threading.Event()
    if not _handled_here(signal.SIGINT):
        yield requested.is_set
        return

    def note(*_: object) -> None:
        requested.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def termination_interrupts() -> Iterator[Callable[[], bool]]:
    """Treat SIGTERM like Ctrl-C inside the block.

    Nothing changes outside the main thread, nor where a program that embeds Python handles signals itself.

    Yields:
        A function that returns whether SIGTERM came.
    """
    requested = threading.Event()
    if not _handled_here(signal.SIGTERM):
        yield requested.is_set
        return

    def interrupt(_: int, frame: FrameType | None) -> None:
        requested.set()
        on_interrupt = signal.getsignal(signal.SIGINT)
        if callable(on_interrupt):
            on_interrupt(signal.SIGINT, frame)
        else:  # a script's background job ignores Ctrl-C
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _handled_here(number: signal.Signals) -> bool:
    """Whether this is the main thread and the signal has a handler that was set from Python."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) is not None
