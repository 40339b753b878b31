"""The tabular benchmark: every architecture of a small space, trained with several seeds and timed end to end.

A search is then evaluated by its true regret against the true frontier, and an estimator by an enumerated gradient.
`data/tabular/five_layer` ships. On disk:

manifest.json                      the recipe: space, data, training, and what computed it
trained.jsonl                      a line a trained network: accuracies, complexity, seconds
latency/<device>/<runtime>-b<batch>.json   all architectures timed end to end under one card

Shapes: A architectures in the order in which the space is iterated, R seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labkit.estimators.costs import LatencyCost, TabularCost
from labkit.latency.cards import Card, Timing
from labkit.networks.complexity import Complexity
from labkit.pareto import Frontier, Point
from labkit.spaces import Architecture, SearchSpace, registry
from labkit.system import storage
from labkit.system.errors import InputError, damaged

KIND, SCHEMA = "tabular benchmark", 1
DEFAULT_LATENCY = "onnxruntime-b1"  # nearest to pooling < 3x3 < 5x5 at batch 1; eager PyTorch pools slowly


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network after one training from scratch, as a row of a file.

    Attributes:
        ops: The architecture, as it prints.
        seed: Of the training.
        valid_accuracy: Fraction of the validation images.
        test_accuracy: Fraction of the test images; None while these may not be used.
        epochs: Of the training.
        parameters, macs, activations: As `Complexity` has them.
        seconds: Of the training, on one core.
    """

    ops: str
    seed: int
    valid_accuracy: float
    test_accuracy: float | None = None
    epochs: int
    parameters: int
    macs: int
    activations: int
    seconds: float

    @property
    def job(self) -> tuple[str, int]:
        """The architecture and the seed."""
        return self.ops, self.seed


@dataclass(frozen=True, eq=False)
class Timed:
    """Every architecture's end-to-end latency under one card, with the sum of its parts.

    Attributes:
        name: Such as "cpu-amd-epyc-2-cores/onnxruntime-b1".
        card: Of the timings.
        timings: (A,) timings.
        table_ms: (A,) milliseconds by the latency table.
    """

    name: str
    card: Card
    timings: tuple[Timing, ...]
    table_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.timings) != len(self.table_ms):
            raise InputError(f"a sum of parts for each timing; got {len(self.table_ms)} and {len(self.timings)}")

    @cached_property
    def measured_ms(self) -> Tensor:
        """(A,) float64 milliseconds."""
        return torch.tensor([timing.ms(self.card.statistic) for timing in self.timings], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class TabularBenchmark:
    """Errors, latencies and complexity of every architecture of a space.

    Attributes:
        space: A architectures.
        valid_error: (A, R) float64, fraction of the validation images misclassified.
        test_error: (A, R) float64, fraction of the test images misclassified.
        complexity: (A,) counts.
        seconds: (A, R) of training.
        latencies: Under one card each.
        recipe: Data and training.
        made: Command, versions, device, date.
    """

    space: SearchSpace
    valid_error: Tensor
    test_error: Tensor
    complexity: tuple[Complexity, ...]
    seconds: Tensor
    latencies: tuple[Timed, ...]
    recipe: dict[str, Any]
    made: dict[str, Any]

    @property
    def seeds(self) -> int:
        """How many times each architecture was trained."""
        return self.test_error.shape[1]

    @cached_property
    def error(self) -> Tensor:
        """(A,) test error, mean over the seeds: regret is computed from it."""
        return self.test_error.mean(1)

    def latency(self, name: str | None = None) -> Timed:
        """Return end-to-end latencies by name.

        Args:
            name: Such as "torch-b32": of several devices the first by name; "cpu-intel-xeon-2-cores/torch-b32" names
                the device too. By default those that the course uses.

        Returns:
            The latencies.

        Raises:
            InputError: There are none of this name.
        """
        known = {timed.name: timed for timed in self.latencies}
        found = storage.find_for_device(known, name or DEFAULT_LATENCY) or (None if name else next(iter(known), None))
        if found is None:
            raise InputError(
                f"the tabular benchmark of {self.space.name} has latencies of {', '.join(known) or 'no runtime'}; "
                f"got {name!r}"
            )
        return known[found]

    def latency_like(self, card: Card) -> Timed:
        """Return the end-to-end latencies that were measured under the same conditions.

        Args:
            card: The conditions.

        Returns:
            The latencies.

        Raises:
            InputError: There are none.
        """
        for timed in self.latencies:
            if not timed.card.differences(card):
                return timed
        raise InputError(
            f"the tabular benchmark of {self.space.name} has no latencies like the table's ({card}): time its "
            f"architectures on this device (python -m labkit tabular latency), or train the chosen (compare --train)"
        )

    def ms(self, latency: str | None = None, by: str = "measured") -> Tensor:
        """Return milliseconds of every architecture.

        Args:
            latency: Name of the latencies, see `latency`.
            by: "measured" end to end, or the "table" sum of parts.

        Returns:
            (A,) float64.

        Raises:
            InputError: An unknown name.
        """
        timed = self.latency(latency)
        if by not in ("measured", "table"):
            raise InputError(f"latencies are 'measured' or by the 'table'; got {by!r}")
        return timed.measured_ms if by == "measured" else torch.tensor(timed.table_ms, dtype=torch.float64)

    def points(self, latency: str | None = None, by: str = "measured") -> tuple[Point, ...]:
        """Return every architecture with its mean test error and milliseconds.

        Args:
            latency: Name of the latencies, see `latency`.
            by: "measured" or "table", see `ms`.

        Returns:
            (A,) points.
        """
        rows = zip(self.space, self.error.tolist(), self.ms(latency, by).tolist())
        return tuple(Point(a, e, t, error_from="trained", latency_from=by) for a, e, t in rows)

    def frontier(self, latency: str | None = None, by: str = "measured") -> Frontier:
        """Return the exact Pareto front.

        Args:
            latency: Name of the latencies, see `latency`.
            by: "measured" or "table", see `ms`.

        Returns:
            The front.
        """
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
        """Return the benchmark as a cost to search: error + latency_weight * ms, in error fraction.

        Args:
            latency_weight: Error fraction per millisecond.
            target_ms: Only milliseconds beyond it cost (the hinge).
            deadline_ms: An architecture that takes longer is worth nothing: it counts as wrong on every image.
            latency: Name of the latencies, see `latency`.
            by: "measured" or "table", see `ms`.
            part: "test", or "valid" for what a search may use.

        Returns:
            A cost of every architecture.

        Raises:
            InputError: An unknown name, or a deadline that no architecture meets.
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
        """Return the latency weight at which an architecture is nearest to the optimum of true error + weight x ms.

        If errors are overestimated sixfold, the realised weight is a sixth of the requested one.

        Args:
            architecture: Of the space.
            latency: Name of the latencies, see `latency`.

        Returns:
            Error fraction per millisecond: the geometric middle of the range where it is nearest. None for the most
                accurate and
            the fastest architecture, which are optimal at any weight that is small or large enough.
        """
        error, ms, place = self.error.numpy(), self.ms(latency).numpy(), self.space.index(architecture)
        weights = np.ptp(error) / np.ptp(ms) * np.logspace(-3, 3, 1201)
        regrets = error[place] + weights * ms[place] - (error + weights[:, None] * ms).min(1)
        near = np.flatnonzero(regrets <= regrets.min() + 1e-9)
        if near[0] == 0 or near[-1] == len(weights) - 1:
            return None
        return float(np.sqrt(weights[near[0]] * weights[near[-1]]))


@dataclass(frozen=True)
class Manifest:
    """What a tabular benchmark is of, as its folder has it.

    Attributes:
        space: The record of the space (`spaces.registry.record`).
        seeds: How many times each architecture is trained.
        recipe: "data": the images and how to make them; "training": the fields of a `TrainConfig` but the seed.
        made: Command, versions, device and date.
    """

    kind: ClassVar[str] = KIND
    schema: ClassVar[int] = SCHEMA
    space: dict[str, Any]
    seeds: int
    recipe: dict[str, Any]
    made: dict[str, Any]

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"a tabular benchmark needs at least one seed; got {self.seeds}")


def load(source: str | Path = "five_layer") -> TabularBenchmark:
    """Read a tabular benchmark.

    Args:
        source: A folder that `build` filled, or the name of a shipped one.

    Returns:
        The benchmark.

    Raises:
        InputError: There is none, it is damaged or lacks networks, or its space is another one now.
    """
    folder = Path(source)
    if not folder.exists() and len(folder.parts) == 1:
        folder = storage.DATA / "tabular" / folder.name
    manifest = storage.read_record(folder / "manifest.json", Manifest)
    trained = read_trained(folder / "trained.jsonl")
    files = sorted((folder / "latency").glob("*/*.json"))
    with damaged(folder, "name another folder, or build it again"):
        space = registry.from_record(manifest.space)
        table = _by_architecture(folder, space, manifest.seeds, trained)
        latencies = tuple(replace(load_timed(file, space), name=f"{file.parent.name}/{file.stem}") for file in files)
        names = ("valid_accuracy", "test_accuracy", "seconds")
        valid, test, seconds = (
            torch.tensor([[getattr(row, name) for row in line] for line in table], dtype=torch.float64)
            for name in names
        )
    counts = tuple(Complexity(line[0].parameters, line[0].macs, line[0].activations) for line in table)
    return TabularBenchmark(space, 1 - valid, 1 - test, counts, seconds, latencies, manifest.recipe, manifest.made)


def read_trained(path: str | Path) -> tuple[TrainedNetwork, ...]:
    """Read the rows of `trained.jsonl`.

    Args:
        path: The file.

    Returns:
        The rows; () when there is no file.

    Raises:
        InputError: A row is damaged: the file and the place in it, such as "at `$[3].seed`".
    """
    return storage.as_record(storage.read_lines(path), tuple[TrainedNetwork, ...], f"{path} is damaged")


def _by_architecture(
    folder: Path, space: SearchSpace, seeds: int, trained: Sequence[TrainedNetwork]
) -> list[list[TrainedNetwork]]:
    """The rows of each architecture in the order of the seeds."""
    rows = {row.job: row for row in trained}
    wanted = [[(str(a), seed) for seed in range(seeds)] for a in space]
    if missing := sum(job not in rows for jobs in wanted for job in jobs):
        raise InputError(
            f"{folder} lacks {missing} of {space.size * seeds} trained networks: "
            "`python -m labkit tabular build` resumes where it stopped"
        )
    return [[rows[job] for job in jobs] for jobs in wanted]


# --- timing all of it ---------------------------------------------------------------------------------------


class _TimedLine(NamedTuple):
    """An architecture's end-to-end latency, as a file has it: a list."""

    ops: str
    best_ms: float
    median_ms: float
    spread_ms: float
    n: int
    table_ms: float


@dataclass(frozen=True)
class _SavedLatencies:
    """End-to-end latencies as their file has them.

    Attributes:
        name: Runtime, batch size and precision.
        space_digest: Of the space that was timed.
        card: The card as JSON.
        rows: An architecture each.
    """

    kind: ClassVar[str] = "end-to-end latencies"
    schema: ClassVar[int] = 1
    name: str
    space_digest: str
    card: dict[str, Any]
    rows: tuple[_TimedLine, ...]


def save_timed(timed: Timed, space: SearchSpace, path: str | Path) -> Path:
    """Write latencies as JSON, rounded to nanoseconds.

    Args:
        timed: The latencies, in the order in which `space` is iterated.
        space: The space that was timed.
        path: The file; its folder is made if need be.

    Returns:
        `path`.
    """
    rows = tuple(
        _TimedLine(str(a), round(t.best_ms, 6), round(t.median_ms, 6), round(t.spread_ms, 6), t.n, round(table_ms, 6))
        for a, t, table_ms in zip(space, timed.timings, timed.table_ms)
    )
    saved = _SavedLatencies(timed.name, space.digest, timed.card.to_json(), rows)
    return storage.write_record(path, saved, {"columns": _TimedLine._fields})


def load_timed(path: str | Path, space: SearchSpace) -> Timed:
    """Read latencies that `save_timed` wrote.

    Args:
        path: The file.
        space: The space that was timed.

    Returns:
        The latencies; their card says that they are recorded.

    Raises:
        InputError: The file is damaged, lacks an architecture, or is of another space.
    """
    saved = storage.read_record(path, _SavedLatencies)
    if saved.space_digest != space.digest:
        raise InputError(f"{path} timed another {space.name} ({saved.space_digest}): time it again")
    by_ops = {line.ops: line for line in saved.rows}
    with damaged(path, "time it again"):
        lines = [by_ops[str(architecture)] for architecture in space]
        timings = tuple(Timing(line.best_ms, line.median_ms, line.spread_ms, line.n) for line in lines)
        card = Card.from_json(saved.card).recorded()
    return Timed(saved.name, card, timings, tuple(line.table_ms for line in lines))
