"""The exact answer: every architecture of a small space, trained from scratch with several seeds and timed whole.

A search can then be judged by true regret against the true frontier, and an estimator by an enumerated gradient.
`data/truth/five_layer` ships. On disk:

manifest.json                      the recipe: space, data, training, and what computed it
trained.jsonl                      a line a trained network: accuracies, complexity, seconds
latency/<device>/<runtime>-b<batch>.json   all architectures timed end to end under one card

In shapes: A architectures in the order in which the space is iterated, R seeds.
"""

import random
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

import labkit.data
from labkit import spaces, storage
from labkit.cards import Card, Timing, device_name, today
from labkit.complexity import Complexity
from labkit.errors import InputError
from labkit.latency import LatencyTable, measure
from labkit.networks import derive
from labkit.objectives import LatencyCost, TabularCost
from labkit.pareto import Frontier, Point
from labkit.runs import versions
from labkit.spaces import Architecture, SearchSpace
from labkit.stopwatch import threads
from labkit.training import RECIPE, TrainConfig
from labkit.training_pool import Job, train_all

KIND, SCHEMA = "truth", 1
LARGEST = 5_000  # architectures; beyond that training all of them is no longer an afternoon
DEFAULT_LATENCY = "onnxruntime-b1"  # nearest to pooling < 3x3 < 5x5 at batch 1; eager PyTorch pools slowly


@dataclass(frozen=True, eq=False)
class Timed:
    """Every architecture's end-to-end latency under one card, beside the sum of its parts."""

    name: str  # such as "cpu-amd-epyc-2-cores/onnxruntime-b1"
    card: Card
    timings: tuple[Timing, ...]  # A
    table_ms: tuple[float, ...]  # A

    @cached_property
    def measured_ms(self) -> Tensor:
        """(A,) float64."""
        return torch.tensor([timing.ms(self.card.statistic) for timing in self.timings], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about every architecture of a space."""

    space: SearchSpace
    valid_error: Tensor  # (A, R) float64, fraction of the validation images misclassified
    test_error: Tensor  # (A, R) float64, of the test images
    complexity: tuple[Complexity, ...]  # A
    seconds: Tensor  # (A, R) of training
    latencies: tuple[Timed, ...]
    recipe: dict[str, Any]  # data and training
    made: dict[str, Any]  # command, versions, device, date

    @property
    def seeds(self) -> int:
        """How many times each architecture was trained."""
        return self.test_error.shape[1]

    @cached_property
    def error(self) -> Tensor:
        """(A,) test error, mean over the seeds: what regret is judged on."""
        return self.test_error.mean(1)

    def latency(self, name: str | None = None) -> Timed:
        """The end-to-end latencies called `name`, such as "torch-b32"; by default those that the course uses.

        Of several devices the first by name, or the one that is named: "cpu-intel-xeon-2-cores/torch-b32".
        """
        known = {timed.name: timed for timed in self.latencies}
        found = storage.of_a_device(known, name or DEFAULT_LATENCY) or (None if name else next(iter(known), None))
        if found is None:
            raise InputError(
                f"the truth of {self.space.name} has latencies of {', '.join(known) or 'no runtime'}; got {name!r}"
            )
        return known[found]

    def latency_like(self, card: Card) -> Timed:
        """The end-to-end latencies measured under the same conditions as `card`."""
        for timed in self.latencies:
            if not timed.card.differences(card):
                return timed
        raise InputError(
            f"the truth of {self.space.name} has no latencies like the table's ({card}): time its architectures on "
            f"this device (python -m labkit truth latency), or judge by training (study --train)"
        )

    def ms(self, latency: str | None = None, by: str = "measured") -> Tensor:
        """(A,) milliseconds: "measured" end to end, or the "table" sum of parts."""
        timed = self.latency(latency)
        if by not in ("measured", "table"):
            raise InputError(f"latencies are 'measured' or by the 'table'; got {by!r}")
        return timed.measured_ms if by == "measured" else torch.tensor(timed.table_ms, dtype=torch.float64)

    def points(self, latency: str | None = None, by: str = "measured") -> tuple[Point, ...]:
        """Every architecture: mean test error, and milliseconds."""
        rows = zip(self.space, self.error.tolist(), self.ms(latency, by).tolist())
        return tuple(Point(a, e, t, error_from="trained", latency_from=by) for a, e, t in rows)

    def frontier(self, latency: str | None = None, by: str = "measured") -> Frontier:
        """The exact Pareto front."""
        return Frontier.of(self.points(latency, by))

    def as_cost(
        self,
        *,
        latency_weight: float = 0.0,
        target_ms: float | None = None,
        deadline_ms: float | None = None,
        latency: str | None = None,
        by: str = "measured",
        part: str = "test",
    ) -> TabularCost:
        """The table as a cost to search: error + latency_weight * ms, in error fraction.

        Args:
            latency_weight: error fraction per millisecond.
            target_ms: with one, only milliseconds beyond it cost (the hinge).
            deadline_ms: an architecture that takes longer is worth nothing: it counts as wrong on every image.
            latency: which latencies, see `latency`.
            part: "test", or "valid" for what a search may look at.
        """
        cost = LatencyCost(latency_weight, target_ms)
        if part not in ("test", "valid"):
            raise InputError(f"errors are of the 'test' or the 'valid' part; got {part!r}")
        errors = self.error if part == "test" else self.valid_error.mean(1)
        if not (latency_weight or deadline_ms is not None):
            return TabularCost(self.space, errors)
        ms = self.ms(latency, by)
        if deadline_ms is not None:
            if not (ms <= deadline_ms).any():
                raise InputError(f"no architecture meets {deadline_ms} ms; the fastest takes {ms.min():.3f} ms")
            errors = errors.where(ms <= deadline_ms, 1.0)
        return TabularCost(self.space, errors + cost(ms))

    def realised_weight(self, architecture: Architecture, latency: str | None = None) -> float | None:
        """The latency weight under which an architecture comes nearest to the least true error + weight x ms.

        Error fraction per millisecond. Where it does so under a range of weights, the geometric middle. The most
        accurate and the fastest architecture do under any weight that is small or large enough, which says nothing:
        None. Who chooses as if errors were six times as large realises a sixth of the weight that was asked for.
        """
        error, ms, place = self.error.numpy(), self.ms(latency).numpy(), self.space.index(architecture)
        weights = np.ptp(error) / np.ptp(ms) * np.logspace(-3, 3, 1201)
        regrets = error[place] + weights * ms[place] - (error + weights[:, None] * ms).min(1)
        near = np.flatnonzero(regrets <= regrets.min() + 1e-9)
        if near[0] == 0 or near[-1] == len(weights) - 1:
            return None
        return float(np.sqrt(weights[near[0]] * weights[near[-1]]))


def load(source: str | Path = "five_layer") -> Truth:
    """A truth table that `build` made: a folder, or the name of a shipped one."""
    folder = Path(source)
    if not folder.exists() and len(folder.parts) == 1:
        folder = storage.DATA / "truth" / folder.name
    manifest = storage.read_json(folder / "manifest.json", KIND, SCHEMA)
    try:
        space = _space(manifest)
        rows = {(row["ops"], row["seed"]): row for row in storage.read_lines(folder / "trained.jsonl")}
        seeds = manifest["seeds"]
        missing = [(str(a), seed) for a in space for seed in range(seeds) if (str(a), seed) not in rows]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of {space.size * seeds} trained networks: "
                "`python -m labkit truth build` goes on where it stopped"
            )
        table = [[rows[str(a), seed] for seed in range(seeds)] for a in space]
        column = lambda key: torch.tensor([[row[key] for row in line] for line in table], dtype=torch.float64)
        complexity = tuple(Complexity(*(line[0][key] for key in Complexity.__annotations__)) for line in table)
        files = sorted((folder / "latency").glob("*/*.json"))
        named = lambda file: f"{file.parent.name}/{file.stem}"
        latencies = tuple(replace(_load_timed(file, space), name=named(file)) for file in files)
        return Truth(
            space=space,
            valid_error=1 - column("valid_accuracy"),
            test_error=1 - column("test_accuracy"),
            complexity=complexity,
            seconds=column("seconds"),
            latencies=latencies,
            recipe=manifest["recipe"],
            made=manifest["made"],
        )
    except (KeyError, TypeError) as problem:
        raise InputError(f"{folder} is a damaged truth table: {type(problem).__name__} {problem}") from None


# --- training all of it -------------------------------------------------------------------------------------


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
    """Train what `folder` lacks of `space`, `seeds` times each; how many networks were trained now.

    A row is on the disk as soon as it is done; a later call trains the others.
    """
    if space.size > LARGEST:
        raise InputError(f"{space.name} has {space.size:,} architectures; at most {LARGEST:,} can all be trained")
    if seeds < 1:
        raise InputError(f"a truth table needs at least one seed; got {seeds}")
    folder = storage.writable_folder(folder)
    images = labkit.data.by_name(data_name, seed=data_seed)
    recipe = {
        "data": {**images.card(), "made_by": {"name": data_name, "seed": data_seed}},
        "training": {key: value for key, value in asdict(config).items() if key != "seed"},
    }
    _open(folder, space, recipe, seeds, command)
    path = folder / "trained.jsonl"
    rows = storage.resume_lines(path)
    done = {(row["ops"], row["seed"]) for row in rows}
    jobs = [job for job in _jobs(space, seeds) if (str(job.architecture), job.seed) not in done]
    with tqdm(total=space.size * seeds, initial=len(rows), disable=not progress, desc="truth", mininterval=1) as bar:
        with closing(train_all(jobs, space, images, config, workers, test=True)) as trained:
            for row in trained:
                storage.append_line(path, row)
                bar.update()
    return len(jobs)


def retrain(truth: Truth, n: int, *, seed: int = 0, workers: int | None = None, progress: bool = False) -> list[dict]:
    """Train `n` random rows of `truth` again; each row with its `recorded_test_accuracy` beside the new one."""
    total = truth.space.size * truth.seeds
    if not 1 <= n <= total:
        raise InputError(f"{truth.space.name} has {total} trained networks to sample from; got {n}")
    made_by = truth.recipe["data"]["made_by"]
    images = labkit.data.by_name(made_by["name"], seed=made_by["seed"])
    if images.digest != truth.recipe["data"]["digest"]:
        raise InputError(
            f"the images of {made_by['name']} differ here from those of the truth table ({images.digest}, then "
            f"{truth.recipe['data']['digest']}): other fonts or versions"
        )
    jobs = random.Random(seed).sample(_jobs(truth.space, truth.seeds), n)
    config = TrainConfig(**truth.recipe["training"])
    rows = []
    for row in tqdm(
        train_all(jobs, truth.space, images, config, workers, test=True),
        total=n,
        disable=not progress,
        desc="retrain",
    ):
        place = truth.space.index(truth.space.architecture(row["ops"]))
        rows.append({**row, "recorded_test_accuracy": 1 - truth.test_error[place, row["seed"]].item()})
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
        old = storage.read_json(path, KIND, SCHEMA)
        if old.get("space", {}).get("digest") != space.digest or old.get("recipe") != recipe:
            raise InputError(
                f"{folder} holds a truth table of another space or recipe: name another folder, or delete that one"
            )
        seeds, made = max(seeds, old["seeds"]), old["made"]
    name = {"name": space.name, "classes": space.classes, "digest": space.digest}
    manifest = {"kind": KIND, "schema": SCHEMA, "space": name, "seeds": seeds, "recipe": recipe, "made": made}
    storage.write_json(path, manifest)


def _space(manifest: dict[str, Any]) -> SearchSpace:
    space = spaces.by_name(manifest["space"]["name"], manifest["space"]["classes"])
    if space.digest != manifest["space"]["digest"]:
        raise InputError(f"the truth table is of another {space.name} ({manifest['space']['digest']}): make it anew")
    return space


# --- timing all of it ---------------------------------------------------------------------------------------


def time_all(
    space: SearchSpace,
    table: LatencyTable,
    *,
    seconds: float = 0.15,
    rounds: int = 15,
    device: str = "cpu",
) -> Timed:
    """Every architecture end to end under the conditions of `table`, in turn with each other."""
    table.check(space)
    card = table.card
    with threads(card.threads):
        measured = measure(
            [derive(space, architecture) for architecture in space],
            space.image,
            runtime=card.runtime,
            batch_size=card.batch_size,
            dtype=card.dtype,
            device=device,
            seconds=seconds,
            rounds=rounds,
        )
    name = f"{card.runtime}-b{card.batch_size}" + f"-{card.dtype}" * (card.dtype != "float32")
    timings = tuple(m.timing for m in measured)
    return Timed(name, measured[0].card, timings, tuple(map(table.table_ms, space)))


def table_of(space: SearchSpace, timed: Timed) -> LatencyTable:
    """The shipped table whose sums stand beside these latencies."""
    device, _, kind = timed.name.rpartition("/")
    name = f"{space.name}-{kind}"
    return LatencyTable.load(f"{device}/{name}" if device else name)


def space_of(table: LatencyTable) -> SearchSpace:
    """The space that `table` was measured for, with as many classes as it has here by default."""
    space = spaces.by_name(table.space)
    table.check(space)
    if space.size > LARGEST:
        raise InputError(f"{space.name} has {space.size:,} architectures; at most {LARGEST:,} can all be timed")
    return space


def save_timed(timed: Timed, space: SearchSpace, path: str | Path) -> Path:
    """Write latencies as JSON, a row an architecture in the order of `space`, rounded to nanoseconds."""
    rows = [
        [str(a), timing.best_ms, timing.median_ms, timing.spread_ms, timing.n, table_ms]
        for a, timing, table_ms in zip(space, timed.timings, timed.table_ms)
    ]
    rows = [[*row[:1], *(round(x, 6) for x in row[1:4]), row[4], round(row[5], 6)] for row in rows]
    value = {
        "kind": "end-to-end latencies",
        "schema": 1,
        "name": timed.name,
        "space_digest": space.digest,
        "card": timed.card.to_json(),
        "columns": ["ops", "best_ms", "median_ms", "spread_ms", "n", "table_ms"],
    }
    return storage.write_json(path, value, rows)


def _load_timed(path: Path, space: SearchSpace) -> Timed:
    value = storage.read_json(path, "end-to-end latencies", 1)
    if value["space_digest"] != space.digest:
        raise InputError(f"{path} timed another {space.name} ({value['space_digest']}): time it anew")
    rows = {row[0]: row[1:] for row in value["rows"]}
    timings, table_ms = [], []
    for architecture in space:
        best, median, spread, n, by_table = rows[str(architecture)]
        timings.append(Timing(best, median, spread, n))
        table_ms.append(by_table)
    return Timed(value["name"], Card.from_json(value["card"]).recorded(), tuple(timings), tuple(table_ms))
