"""Train many networks at once, one a core.

Each is trained on one thread in a process of its own kind, so all cores are used and what comes out does not depend on
their number.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from labkit.data import ImageSet
from labkit.networks.complexity import count
from labkit.networks.supernet import derive
from labkit.networks.training import TrainConfig, error, train
from labkit.spaces import Architecture, SearchSpace
from labkit.system.device import threads
from labkit.system.processes import as_finished, workers_for


@dataclass(frozen=True)
class Job:
    """One network to train."""

    architecture: Architecture
    seed: int  # of its first weights and the order of its images; the images themselves are the same for all


def train_all(
    jobs: Sequence[Job],
    space: SearchSpace,
    images: ImageSet,
    config: TrainConfig,
    workers: int | None = None,
    *,
    test: bool = False,
) -> Generator[dict[str, Any], None, None]:
    """Rows (see `train_row`) as they are finished, by `workers` processes: all cores by default, 1 is this process.

    Args:
        test: count errors on the test images as well. Not while any of these may still be chosen or dropped: without
            it no training gets to see them.
    """
    if not jobs:
        return
    if not test:  # an index, for a slice would keep, and send along, what it leaves out
        images = replace(images, test=images.test[torch.tensor([], dtype=torch.long)])
    workers = workers_for(len(jobs), workers)
    if workers == 1:
        with one_thread():
            yield from (train_row(job, space, images, config) for job in jobs)
        return
    yield from as_finished(_train_one, jobs, workers, start=_start_worker, started_with=(space, images, config))


def one_thread() -> AbstractContextManager[None]:
    """Networks this small train fastest on one thread each, and then a row does not depend on the cores."""
    return threads(1)


_worker: Callable[[Job], dict[str, Any]] | None = None  # set once a process, so that the images are sent once


def _start_worker(space: SearchSpace, images: ImageSet, config: TrainConfig) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = lambda job: train_row(job, space, images, config)


def _train_one(job: Job) -> dict[str, Any]:
    assert _worker is not None
    return _worker(job)


def train_row(job: Job, space: SearchSpace, images: ImageSet, config: TrainConfig) -> dict[str, Any]:
    """Train one network from scratch: its accuracies, complexity and seconds. No test images, no test accuracy."""
    network = derive(space, job.architecture, seed=job.seed)
    numbers = asdict(count(network, space.image))
    started = time.perf_counter()
    records = train(network, images, replace(config, seed=job.seed), validate="at the end")
    seconds = time.perf_counter() - started
    tested = {"test_accuracy": round(1 - error(network, images.test), 6)} if len(images.test) else {}
    return {
        "ops": str(job.architecture),
        "seed": job.seed,
        "valid_accuracy": round(1 - records[-1]["valid_error"], 6),
        **tested,
        "epochs": config.epochs,
        **numbers,
        "seconds": round(seconds, 2),
    }
