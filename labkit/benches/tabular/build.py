"""Train every architecture of a space with several seeds; a stopped build resumes."""

import random
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import labkit.data
from labkit.benches.tabular.table import Manifest, TabularBenchmark, read_trained
from labkit.benches.tabular.timing import LARGEST
from labkit.networks.parallel import Job, train_all
from labkit.networks.training import RECIPE, TrainConfig
from labkit.spaces import SearchSpace, registry
from labkit.system import storage
from labkit.system.device import device_name, today, versions
from labkit.system.errors import InputError


def build(
    folder: str | Path,
    space: SearchSpace,
    *,
    data_name: str = "glyphs-hard",
    data_seed: int = 0,
    seeds: int = 3,
    config: TrainConfig = RECIPE,
    workers: int | None = None,
    command: str = "",
    progress: bool = False,
) -> int:
    """Train what a folder lacks of a tabular benchmark. A row is on the disk as soon as it is made.

    Args:
        folder: Of the benchmark; made if need be.
        space: At most `LARGEST` architectures.
        data_name: Name of the images.
        data_seed: Of the images.
        seeds: Trainings of each architecture.
        config: Of each training; its seed is not used.
        workers: Networks trained at once; by default one a core.
        command: What was typed, for the provenance.
        progress: Show a progress bar.

    Returns:
        How many networks were trained by this call.

    Raises:
        InputError: The space is too large, or the folder holds another benchmark.
    """
    if space.size > LARGEST:
        raise InputError(f"{space.name} has {space.size:,} architectures; at most {LARGEST:,} can all be trained")
    if seeds < 1:
        raise InputError(f"a tabular benchmark needs at least one seed; got {seeds}")
    folder = storage.writable_folder(folder)
    images = labkit.data.by_name(data_name, seed=data_seed)
    recipe = {
        "data": {**images.card(), "made_by": {"name": data_name, "seed": data_seed}},
        "training": {key: value for key, value in asdict(config).items() if key != "seed"},
    }
    _open(folder, space, recipe, seeds, command)
    path = folder / "trained.jsonl"
    storage.resume_lines(path)
    done = {row.job for row in read_trained(path)}
    jobs = [job for job in _jobs(space, seeds) if (str(job.architecture), job.seed) not in done]
    with tqdm(total=space.size * seeds, initial=len(done), disable=not progress, desc="tabular", mininterval=1) as bar:
        with closing(train_all(jobs, space, images, config, workers, test=True)) as trained:
            for row in trained:
                storage.append_line(path, row)
                bar.update()
    return len(jobs)


def retrain(
    tabular: TabularBenchmark, n: int, *, seed: int = 0, workers: int | None = None, progress: bool = False
) -> list[dict]:
    """Train random networks of a tabular benchmark again.

    Args:
        tabular: The benchmark.
        n: Networks.
        seed: Of the sample.
        workers: Networks trained at once; by default one a core.
        progress: Show a progress bar.

    Returns:
        Rows of `train_row`, each with its `recorded_test_accuracy`.

    Raises:
        InputError: There are fewer networks, or the images are made differently here.
    """
    total = tabular.space.size * tabular.seeds
    if not 1 <= n <= total:
        raise InputError(f"{tabular.space.name} has {total} trained networks to sample from; got {n}")
    made_by = tabular.recipe["data"]["made_by"]
    images = labkit.data.by_name(made_by["name"], seed=made_by["seed"])
    if images.digest != tabular.recipe["data"]["digest"]:
        raise InputError(
            f"the images of {made_by['name']} differ here from those of the tabular benchmark ({images.digest}, then "
            f"{tabular.recipe['data']['digest']}): other fonts or versions"
        )
    jobs = random.Random(seed).sample(_jobs(tabular.space, tabular.seeds), n)
    config = TrainConfig(**tabular.recipe["training"])
    rows = []
    for row in tqdm(
        train_all(jobs, tabular.space, images, config, workers, test=True),
        total=n,
        disable=not progress,
        desc="retrain",
    ):
        place = tabular.space.index(tabular.space.architecture(row["ops"]))
        rows.append({**row, "recorded_test_accuracy": 1 - tabular.test_error[place, row["seed"]].item()})
    return rows


def _jobs(space: SearchSpace, seeds: int) -> list[Job]:
    """All seeds of an architecture together, the architectures in random order: what is done is a fair sample."""
    order = list(space)
    random.Random(0).shuffle(order)
    return [Job(architecture, seed) for architecture in order for seed in range(seeds)]


def _open(folder: Path, space: SearchSpace, recipe: dict[str, Any], seeds: int, command: str) -> None:
    """Write the manifest of a new table, or check that an old one is of the same recipe; more seeds may be asked."""
    path = folder / "manifest.json"
    made = {"command": command, "device": device_name(), "versions": versions(), "date": today()}
    if path.exists():
        old = storage.read_record(path, Manifest)
        if old.space.get("digest") != space.digest or old.recipe != recipe:
            raise InputError(
                f"{folder} holds a tabular benchmark of another space or recipe: name another folder, or delete it"
            )
        seeds, made = max(seeds, old.seeds), old.made
    storage.write_record(path, Manifest(registry.record(space), seeds, recipe, made))
