"""Train many networks in parallel, one on each core.

Each is trained on one thread, so the results do not depend on the number of cores.
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
    """One network to train.

    Attributes:
        architecture: the architecture of the network.
        seed: of its initial weights, the order of the images and augmentation; the image set is the same for all.
    """

    architecture: Architecture
    seed: int


def train_all(
    jobs: Sequence[Job],
    space: SearchSpace,
    images: ImageSet,
    config: TrainConfig,
    workers: int | None = None,
    *,
    test: bool = False,
) -> Generator[dict[str, Any], None, None]:
    """Train networks from scratch in parallel and yield their results as they finish.

    Args:
        jobs: the networks.
        space: their search space.
        images: the image set.
        config: how to train; the seed is that of each job.
        workers: number of processes; None for one a core, 1 for this process.
        test: whether to compute the accuracy on the test images too. Leave it off while the result decides about
            architectures: the trainings then do not get these images.

    Yields:
        One row for each job, see `train_row`.

    Raises:
        InputError: a training diverged, there are too few images for a batch, or a process died.
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
    """Set one thread inside the block: small networks train fastest so, and results do not depend on the cores.

    Returns:
        The context manager.
    """
    return threads(1)


_worker: Callable[[Job], dict[str, Any]] | None = None  # set once in each process, so that the images are sent once


def _start_worker(space: SearchSpace, images: ImageSet, config: TrainConfig) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = lambda job: train_row(job, space, images, config)


def _train_one(job: Job) -> dict[str, Any]:
    assert _worker is not None
    return _worker(job)


def train_row(job: Job, space: SearchSpace, images: ImageSet, config: TrainConfig) -> dict[str, Any]:
    """Train one network from scratch.

    Args:
        job: the network.
        space: its search space.
        images: the image set.
        config: how to train; the seed is that of the job.

    Returns:
        "ops", "seed", "valid_accuracy", "test_accuracy" (where the set has test images), "epochs", the counts of
        `Complexity` and "seconds" of training, as JSON values.

    Raises:
        InputError: the training diverged, or there are too few images for a batch.
    """
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
