"""Many independent calls at once, a process a core with one thread each: faster than one process with many threads."""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from labkit.system.errors import InputError
from labkit.system.registry import adopt, own_parts

T = TypeVar("T")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def workers_for(calls: int, workers: int | None) -> int:
    """How many processes so many calls are worth: `workers`, by default one a core, and no more than calls."""
    return max(1, min(workers or os.cpu_count() or 1, calls))


def survives(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a process of its own lives through `function(*arguments)`; what that raises is raised here."""
    with _pool(1) as pool:
        try:
            pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            return False
    return True


def as_finished(
    function: Callable[..., T],
    items: Iterable[Any],
    workers: int,
    *,
    start: Callable[..., None] | None = None,
    started_with: tuple[Any, ...] = (),
) -> Iterator[T]:
    """`function(item)` of every item, in the order in which they end. A caller that has seen enough may close it.

    Args:
        function: of a module, as it is sent to the processes by name.
        start: called with `started_with` once in each process: for what is too large to be sent with every item.

    Raises:
        InputError: a process died.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        kept = _kept((own_parts(), start, *started_with), folder)
        with _pool(workers, env=ONE_THREAD, initializer=_start, initargs=(kept,)) as pool:
            try:
                for done in as_completed([pool.submit(function, item) for item in items]):
                    yield done.result()
            except BrokenProcessPool:
                raise InputError(
                    "a process died, most likely for want of memory: take fewer workers; "
                    "what is on the disk is kept, and the same call goes on from it"
                ) from None


def _kept(values: tuple[Any, ...], folder: str) -> Path:
    """A file of `values`.

    Through a pipe they would make processes start one after the other: each reads as it imports what it needs to
    understand them, and the next waits for its turn.
    """
    import cloudpickle  # takes what a notebook defines, too

    file = Path(folder, "started-with.pickle")
    with file.open("wb") as out:
        cloudpickle.dump(values, out)
    return file


def _start(kept: Path) -> None:
    with kept.open("rb") as values:
        own, start, *started_with = pickle.load(values)
    adopt(own)
    if start is not None:
        start(*started_with)


@contextmanager
def _pool(workers: int, **how: Any) -> Iterator[Executor]:
    """Processes that end with the block: who has seen enough, or is interrupted, waits for nothing under way."""
    from loky import ProcessPoolExecutor  # its processes do not run the caller's script again

    pool = ProcessPoolExecutor(workers, **how)
    begun = pool._processes
    try:
        yield pool
    except BaseException:
        pool.shutdown(kill_workers=True)
        for process in [*begun.values()]:  # an interrupt that came while they started: nobody manages them yet
            process.terminate()
        raise
    pool.shutdown()
