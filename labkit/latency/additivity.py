"""Does a sum of parts predict the whole? A latency table and its rivals against networks timed end to end."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch

from labkit.latency.cards import Card
from labkit.latency.predictors import PairResidual, Predictor, Ridge, ScaledSum, SumOfParts
from labkit.latency.table import LatencyTable, shipped_table
from labkit.networks.complexity import count
from labkit.networks.supernet import derive
from labkit.spaces import Architecture, SearchSpace
from labkit.system import storage
from labkit.system.errors import InputError

KIND, SCHEMA = "additivity report", 1
SPEARMAN, WITHIN_10 = 0.97, 0.95  # what the best predictor should reach
SHORT = 0.02  # of what measuring twice reaches: where the machine's own noise forbids more
QUIET = 0.8  # share of the networks whose two measurements are within 10 %: below it nothing can be judged


@dataclass(frozen=True)
class Timed:
    """A network timed end to end, twice."""

    architecture: Architecture
    measured_ms: float
    again_ms: float


@dataclass(frozen=True)
class Standing:
    """How well one way of predicting orders and meets the measured milliseconds of networks it has not seen."""

    name: str
    spearman: float
    kendall: float
    top_decile: float  # share of the fastest tenth that is among the predicted fastest tenth
    rmse: float | None  # over the median; None where the prediction is not in milliseconds
    within_5: float | None  # share of the networks within 5 %
    within_10: float | None


@dataclass(frozen=True)
class Report:
    """Every predictor and rival on the same held-out networks, beside what a second measurement reaches."""

    card: Card
    fitted: int  # networks
    held_out: int
    ceiling: Standing
    predictors: tuple[Standing, ...]
    rivals: tuple[Standing, ...]

    @property
    def best(self) -> Standing:
        """The predictor with the most networks within 10 %; of equals the one that ranks best."""
        return max(self.predictors, key=lambda s: (s.within_10, s.spearman))

    @property
    def verdict(self) -> str:
        """ "reached" the bar; within two points of the "ceiling" of this machine's noise; "short"; or too "noisy"."""
        best, most = self.best, self.ceiling
        assert best.within_10 is not None and most.within_10 is not None  # both are in milliseconds
        if most.within_10 < QUIET:
            return "noisy"
        if best.spearman >= SPEARMAN and best.within_10 >= WITHIN_10:
            return "reached"
        near = best.spearman >= min(SPEARMAN, most.spearman - SHORT)
        near = near and best.within_10 >= min(WITHIN_10, most.within_10 - SHORT)
        return "ceiling" if near else "short"

    @property
    def passed(self) -> bool:
        """Whether the verdict is "reached" or "ceiling"."""
        return self.verdict in ("reached", "ceiling")


def choose(space: SearchSpace, n: int, seed: int = 0) -> list[Architecture]:
    """`n` different random architectures; all of them, in random order, of a smaller space."""
    if space.size <= n:
        every = list(space)
        random.Random(seed).shuffle(every)
        return every
    generator = torch.Generator().manual_seed(seed)
    found: dict[Architecture, None] = {}
    while len(found) < n:
        found.update(dict.fromkeys(space.sample(n - len(found), generator)))
    return list(found)


def predictors(space: SearchSpace, table: LatencyTable, timed: Sequence[Timed]) -> tuple[Predictor, ...]:
    """Every predictor, fitted to the mean of both measurements of `timed`: half the variance of one."""
    table.check(space)
    architectures, ms = [t.architecture for t in timed], [(t.measured_ms + t.again_ms) / 2 for t in timed]
    return (
        SumOfParts.fit(table, architectures, ms),
        ScaledSum.fit(table, architectures, ms),
        Ridge.fit(space, architectures, ms),
        PairResidual.fit(space, table, architectures, ms),
    )


def report(space: SearchSpace, table: LatencyTable, timed: Sequence[Timed], held_out: int = 60) -> Report:
    """Fit on all but the last `held_out` networks; hold each prediction of those against their first measurement."""
    if len(timed) < held_out + 10:
        raise InputError(f"{held_out} networks to test on need at least 10 more to fit to; got {len(timed)} in all")
    fit, test = timed[:-held_out], timed[-held_out:]
    weights = torch.stack([space.encode(t.architecture) for t in test]).double()
    measured = np.array([t.measured_ms for t in test])
    counts = [count(derive(space, t.architecture), space.image) for t in test]
    rivals: dict[str, Callable[[Any], float]] = {
        "multiply-accumulates": lambda c: c.macs,
        "parameters": lambda c: c.parameters,
        "activations": lambda c: c.activations,
    }
    return Report(
        table.card,
        len(fit),
        len(test),
        standing("measured again", np.array([t.again_ms for t in test]), measured),
        tuple(standing(p.name, p(weights).numpy(), measured) for p in predictors(space, table, fit)),
        tuple(standing(name, np.array([of(c) for c in counts]), measured, ms=False) for name, of in rivals.items()),
    )


def recorded(table: str) -> tuple[Standing, ...]:
    """What stands beside a shipped table (`latency.shipped_table`): measuring again, every predictor, every rival."""
    path = shipped_table(table).with_suffix(".additivity.json")
    try:
        return tuple(Standing(**row) for row in storage.read_json(path, KIND, SCHEMA)["standings"])
    except (KeyError, TypeError) as problem:
        raise InputError(f"{path} is a damaged additivity report: {type(problem).__name__} {problem}") from None


def standing(name: str, predicted: np.ndarray, measured: np.ndarray, *, ms: bool = True) -> Standing:
    """Compare (N,) predictions with (N,) measured milliseconds; `ms` says whether they are milliseconds as well."""
    off = np.abs(predicted / measured - 1)
    tenth = max(1, round(len(measured) / 10))
    fastest = lambda values: set(np.argsort(values, kind="stable")[:tenth].tolist())
    return Standing(
        name,
        spearman=float(scipy.stats.spearmanr(predicted, measured).statistic),
        kendall=float(scipy.stats.kendalltau(predicted, measured).statistic),
        top_decile=len(fastest(predicted) & fastest(measured)) / tenth,
        rmse=float(np.sqrt(np.mean((predicted - measured) ** 2)) / np.median(measured)) if ms else None,
        within_5=float(np.mean(off <= 0.05)) if ms else None,
        within_10=float(np.mean(off <= 0.10)) if ms else None,
    )


def to_text(found: Report) -> str:
    """A table for the terminal, and the verdict in words."""
    lines = [
        f"{found.held_out} networks timed end to end, predictors fitted to {found.fitted} others",
        f"{'':22} Spearman  Kendall  fastest tenth  RMSE/median  within 5 %  within 10 %",
    ]
    part = lambda value: "" if value is None else f"{100 * value:.0f} %"
    for s in (found.ceiling, *found.predictors, *found.rivals):
        lines.append(
            f"{s.name:22} {s.spearman:8.3f} {s.kendall:8.3f} {part(s.top_decile):>14} {part(s.rmse):>12} "
            f"{part(s.within_5):>11} {part(s.within_10):>12}"
        )
    words = {
        "reached": f"Spearman at least {SPEARMAN}, {WITHIN_10:.0%} within 10 %: reached",
        "ceiling": "within 2 points of measuring twice: this machine's noise forbids more",
        "noisy": "TOO NOISY to judge: two measurements of a network differ by more than 10 % too often; leave the "
        "machine alone and measure again",
        "short": "SHORT of the bar and of measuring twice: a sum of parts does not tell this runtime's latencies",
    }
    return "\n".join([*lines, f"best: {found.best.name}; {words[found.verdict]}", str(found.card)])


def to_json(found: Report) -> dict[str, Any]:
    rows: Iterable[Standing] = (found.ceiling, *found.predictors, *found.rivals)
    return {
        "card": found.card.to_json(),
        "fitted": found.fitted,
        "held_out": found.held_out,
        "best": found.best.name,
        "verdict": found.verdict,
        "passed": found.passed,
        "standings": [asdict(row) for row in rows],
    }
