"""The rows of a comparison: a line for each method and seed, and the training of what was chosen. As a file too."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from labkit.benches.record import read_with_table
from labkit.benches.tabular.table import TabularBenchmark, TrainedNetwork
from labkit.latency.table import LatencyTable
from labkit.networks.parallel import Job
from labkit.spaces import SearchSpace, registry
from labkit.system import storage
from labkit.system.errors import InputError

KIND, SCHEMA = "comparison", 1
SWEEP, OURS = "sweep", "sweep, selected"
SELECTED = "random, selected"  # our second stage after a random search: the baseline "random-selected"
SHARED = ("random", "evolution", "local-search")  # baselines on the sweep's weights; "nsga2" too where Optuna is
SCRATCH, SCAN = "random from scratch", "exhaustive scan"


@dataclass(frozen=True)
class Row:
    """The choices of a method with one seed, and their cost.

    Attributes:
        method: Name of the method.
        seed: Of the search.
        ops: An architecture for each latency weight.
        evaluated: Architectures that it evaluated.
        passes: Image passes.
        seconds: Of the search.
    """

    method: str
    seed: int
    ops: tuple[str, ...]
    evaluated: int
    passes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of all methods and seeds, and the training of what they chose.

    Attributes:
        space: The space.
        table: Its latency table.
        latency_weights: Error fraction per millisecond.
        asked: Data and configs: what a later run must repeat to resume.
        made: Provenance.
        rows: One for each method and seed.
        trained: Without a tabular benchmark, rows like its own; the seed is that of the search. Chosen networks have a
            test accuracy.
    """

    space: SearchSpace
    table: LatencyTable
    latency_weights: tuple[float, ...]
    asked: dict[str, Any]
    made: dict[str, Any]
    rows: tuple[Row, ...] = ()
    # Without a tabular benchmark, rows like its own; the seed is the search's. Chosen networks have a test accuracy.
    trained: tuple[TrainedNetwork, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Once each, in the order in which they were run."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def estimators(self) -> dict[str, str]:
        """The method of each estimator of which there are sweeps: ours, then the others."""
        others = [m.removeprefix(f"{SWEEP}, ") for m in self.methods if m.startswith(f"{SWEEP}, ") and m != OURS]
        own = {self.asked["search"]["estimator"]: SWEEP} if SWEEP in self.methods else {}
        return own | {name: f"{SWEEP}, {name}" for name in others}

    def costs(self, method: str, tabular: TabularBenchmark | None = None, latency: str | None = None) -> np.ndarray:
        """Return test error + weight * ms of what a method chose, as fractions.

        Milliseconds are measured ones where the tabular benchmark is known, else those of the table.

        Args:
            method: Name of the method.
            tabular: Of the same space and images.
            latency: Name of its latencies; by default the course's.

        Returns:
            (seeds, weights) costs in the order of the seeds.

        Raises:
            InputError: Without a tabular benchmark some networks are `missing`.
        """
        rows = sorted((row for row in self.rows if row.method == method), key=lambda row: row.seed)
        if tabular is None and (lacking := replace(self, rows=tuple(rows)).missing()):
            raise InputError(
                f"{len(lacking)} networks that {method!r} chose are not trained yet: resume the comparison, or "
                "take its `whole_seeds`"
            )
        if tabular is not None:
            error, ms = tabular.error.tolist(), tabular.ms(latency).tolist()
            place = {str(architecture): i for i, architecture in enumerate(tabular.space)}
            point = lambda ops, seed: (error[place[ops]], ms[place[ops]])
        else:
            wrong = {job: 1 - accuracy for job, accuracy in self._tested().items()}
            point = lambda ops, seed: (wrong[ops, seed], self.table.table_ms(self.space.architecture(ops)))
        pairs = [[point(ops, row.seed) for ops in row.ops] for row in rows]
        return np.array([[e + w * t for (e, t), w in zip(line, self.latency_weights)] for line in pairs])

    def missing(self) -> list[Job]:
        """Return the chosen networks that were not tested yet, once for each seed that chose them."""
        done = self._tested()
        wanted = dict.fromkeys((ops, row.seed) for row in self.rows for ops in row.ops)
        return [Job(self.space.architecture(ops), seed) for ops, seed in wanted if (ops, seed) not in done]

    def whole_seeds(self) -> "Comparison":
        """Return the rows of those seeds alone whose chosen networks were all trained."""
        lacking = {job.seed for job in self.missing()}
        return replace(self, rows=tuple(row for row in self.rows if row.seed not in lacking))

    def _tested(self) -> dict[tuple[str, int], float]:
        """Test accuracy by architecture and seed."""
        return {row.job: row.test_accuracy for row in self.trained if row.test_accuracy is not None}


@dataclass(frozen=True)
class _Saved:
    """A comparison as its file has it."""

    kind: ClassVar[str] = KIND
    schema: ClassVar[int] = SCHEMA
    space: dict[str, Any]
    latency_weights: tuple[float, ...]
    asked: dict[str, Any]
    made: dict[str, Any]
    trained: tuple[TrainedNetwork, ...]
    table: dict[str, Any]
    rows: tuple[Row, ...]


def save(found: Comparison, path: str | Path) -> Path:
    """Write a comparison as one readable JSON file.

    A stopped comparison resumes from it.

    Args:
        found: The comparison.
        path: The file; its folder is made if need be.

    Returns:
        `path`.
    """
    space, table = registry.record(found.space), found.table.to_json()
    saved = _Saved(space, found.latency_weights, found.asked, found.made, found.trained, table, found.rows)
    return storage.write_record(path, saved)


def load(path: str | Path) -> Comparison:
    """Read a comparison that `save` wrote.

    Args:
        path: A file, or the name of a shipped result.

    Returns:
        The comparison.

    Raises:
        InputError: There is no such file, it is damaged, or its space is another one now.
    """
    saved, space, table = read_with_table(path, _Saved)
    return Comparison(space, table, saved.latency_weights, saved.asked, saved.made, saved.rows, saved.trained)
