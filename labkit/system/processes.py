"""Run independent calls in parallel: one process a core with one thread each, faster than one of many threads."""

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
    """Return the number of processes for a number of calls.

    Args:
        calls: number of independent calls.
        workers: number of processes wanted; None for one a core.

    Returns:
        At least 1, at most `calls`.
    """
    return max(1, min(workers or os.cpu_count() or 1, calls))


def runs_in_subprocess(function: Callable[..., Any], *arguments: Any) -> bool:
    """Call a function in a process of its own, as it may crash. An exception of the call is raised here.

    Args:
        function: of a module, as it is sent to the process by name.
        arguments: its arguments.

    Returns:
        False if the process died, otherwise True.
    """
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
    """Call a function on every item in parallel and yield the results in the order in which they finish.

    Close the generator to stop early: the processes then end at once.

    Args:
        function: of a module, as it is sent to the processes by name.
        items: one argument a call.
        workers: number of processes.
        start: called once in each process, for what is too large to be sent with every item.
        started_with: arguments of `start`.

    Yields:
        Results of `function`.

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
                    "a worker process died, most likely because memory ran out: take fewer workers; "
                    "what is on the disk is kept, and the same call resumes from it"
                ) from None


def _kept(values: tuple[Any, ...], folder: str) -> Path:
    """Write `values` to a file: sent through a pipe, they would make the processes start one after the other."""
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
    """A pool of processes that ends with the block; an error or an interrupt ends it without waiting."""
    from loky import ProcessPoolExecutor  # its processes do not run the caller's script again

    pool = ProcessPoolExecutor(workers, **how)
    begun = pool._processes
    try:
        yield pool
    except BaseException:
        pool.shutdown(kill_workers=True)
        for process in [*begun.values()]:  # an interrupt came while they started, when the pool does not manage them
            process.terminate()
        raise
    pool.shutdown()
