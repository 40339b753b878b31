"""Being stopped: by Ctrl-C, a notebook's stop button, or SIGTERM as `docker stop` and batch systems send it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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

    The second acts at once. Outside the main thread, where Python delivers none, nothing changes.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
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

    Outside the main thread nothing changes.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def interrupt(_: int, frame: object) -> None:
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
