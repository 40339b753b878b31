"""The exact answer: every architecture of a small space, trained from scratch with several seeds and timed whole.

A search can then be judged by true regret against the true frontier, and an estimator by an enumerated gradient.
`data/tabular/five_layer` ships. On disk:

manifest.json                      the recipe: space, data, training, and what computed it
trained.jsonl                      a line a trained network: accuracies, complexity, seconds
latency/<device>/<runtime>-b<batch>.json   all architectures timed end to end under one card

In shapes: A architectures in the order in which the space is iterated, R seeds.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit import spaces
from labkit.estimators.costs import LatencyCost, TabularCost
from labkit.latency.cards import Card, Timing
from labkit.networks.complexity import Complexity
from labkit.pareto import Frontier, Point
from labkit.spaces import Architecture, SearchSpace
from labkit.system import storage
from labkit.system.errors import InputError

KIND, SCHEMA = "tabular benchmark", 1
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
class TabularBenchmark:
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
                f"the tabular benchmark of {self.space.name} has latencies of {', '.join(known) or 'no runtime'}; "
                f"got {name!r}"
            )
        return known[found]

    def latency_like(self, card: Card) -> Timed:
        """The end-to-end latencies measured under the same conditions as `card`."""
        for timed in self.latencies:
            if not timed.card.differences(card):
                return timed
        raise InputError(
            f"the tabular benchmark of {self.space.name} has no latencies like the table's ({card}): time its "
            f"architectures on this device (python -m labkit tabular latency), or train the chosen (compare --train)"
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


def load(source: str | Path = "five_layer") -> TabularBenchmark:
    """A tabular benchmark that `build` made: a folder, or the name of a shipped one."""
    folder = Path(source)
    if not folder.exists() and len(folder.parts) == 1:
        folder = storage.DATA / "tabular" / folder.name
    manifest = storage.read_json(folder / "manifest.json", KIND, SCHEMA)
    try:
        space = _space(manifest)
        rows = {(row["ops"], row["seed"]): row for row in storage.read_lines(folder / "trained.jsonl")}
        seeds = manifest["seeds"]
        missing = [(str(a), seed) for a in space for seed in range(seeds) if (str(a), seed) not in rows]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of {space.size * seeds} trained networks: "
                "`python -m labkit tabular build` goes on where it stopped"
            )
        table = [[rows[str(a), seed] for seed in range(seeds)] for a in space]
        column = lambda key: torch.tensor([[row[key] for row in line] for line in table], dtype=torch.float64)
        complexity = tuple(Complexity(*(line[0][key] for key in Complexity.__annotations__)) for line in table)
        files = sorted((folder / "latency").glob("*/*.json"))
        named = lambda file: f"{file.parent.name}/{file.stem}"
        latencies = tuple(replace(_load_timed(file, space), name=named(file)) for file in files)
        return TabularBenchmark(
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
        raise InputError(f"{folder} is a damaged tabular benchmark: {type(problem).__name__} {problem}") from None


# --- training all of it -------------------------------------------------------------------------------------


def _space(manifest: dict[str, Any]) -> SearchSpace:
    space = spaces.by_name(manifest["space"]["name"], manifest["space"]["classes"])
    if space.digest != manifest["space"]["digest"]:
        raise InputError(
            f"the tabular benchmark is of another {space.name} ({manifest['space']['digest']}): make it anew"
        )
    return space


# --- timing all of it ---------------------------------------------------------------------------------------


def save_timed(timed: Timed, space: SearchSpace, path: str | Path) -> Path:
    """Write latencies as JSON, a row an architecture in the order of `space`, rounded to nanoseconds."""
    rows = [
        [str(a), *(round(ms, 6) for ms in (t.best_ms, t.median_ms, t.spread_ms)), t.n, round(table_ms, 6)]
        for a, t, table_ms in zip(space, timed.timings, timed.table_ms)
    ]
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
