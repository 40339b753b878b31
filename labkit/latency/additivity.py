"""Compare what a latency table and its baselines predict with networks timed end to end."""

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
SHORT = 0.02  # distance allowed from a second measurement, where the machine's own noise forbids more
QUIET = 0.8  # share of the networks whose two measurements are within 10 %: below it there is no verdict


@dataclass(frozen=True)
class Timed:
    """A network timed end to end, twice.

    Attributes:
        architecture: of the network.
        measured_ms: milliseconds of the first measurement.
        again_ms: milliseconds of the second one.
    """

    architecture: Architecture
    measured_ms: float
    again_ms: float


@dataclass(frozen=True)
class Score:
    """How well one prediction agrees with the measured milliseconds of networks that it was not fitted to.

    Attributes:
        name: of the predictor or baseline.
        spearman: rank correlation, from -1 to 1.
        kendall: rank correlation tau-b, from -1 to 1.
        top_decile: share of the fastest tenth that is among the predicted fastest tenth.
        rmse: root mean squared error over the median latency; None where the prediction is not in milliseconds.
        within_5: share of the networks predicted within 5 %; None likewise.
        within_10: share of the networks predicted within 10 %; None likewise.
    """

    name: str
    spearman: float
    kendall: float
    top_decile: float
    rmse: float | None
    within_5: float | None
    within_10: float | None


@dataclass(frozen=True)
class Report:
    """Scores of every predictor and baseline on the same held-out networks.

    Attributes:
        card: of the latency table.
        fitted: networks that the predictors were fitted to.
        held_out: networks that they are scored on.
        ceiling: the score of a second measurement, which no prediction can be expected to pass.
        predictors: a score for each predictor.
        baselines: a score for each count of operations, parameters or activations.
    """

    card: Card
    fitted: int
    held_out: int
    ceiling: Score
    predictors: tuple[Score, ...]
    baselines: tuple[Score, ...]

    @property
    def best(self) -> Score:
        """The predictor with the most networks within 10 %; of equals the one with the highest rank correlation."""
        return max(self.predictors, key=lambda s: (s.within_10, s.spearman))

    @property
    def verdict(self) -> str:
        """The verdict on the best predictor.

        "reached": it reaches both thresholds. "ceiling": it is within two points of a second measurement. "noisy": two
        measurements differ too much for a verdict. "short": none of these.
        """
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
    """Draw different random architectures.

    Args:
        space: where they come from.
        n: how many; a space with no more gives all of its architectures, in random order.
        seed: of the draw.

    Returns:
        At most `n` architectures, no two alike.
    """
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
    """Fit every predictor to the mean of both measurements, which has half the variance of one.

    Args:
        space: of the architectures.
        table: its latency table.
        timed: networks that were timed, at least 10.

    Returns:
        The sum of parts, the scaled sum, ridge regression, and the table with pairs.

    Raises:
        InputError: the table is of another space, or there are too few networks.
    """
    table.check(space)
    architectures, ms = [t.architecture for t in timed], [(t.measured_ms + t.again_ms) / 2 for t in timed]
    return (
        SumOfParts.fit(table, architectures, ms),
        ScaledSum.fit(table, architectures, ms),
        Ridge.fit(space, architectures, ms),
        PairResidual.fit(space, table, architectures, ms),
    )


def report(space: SearchSpace, table: LatencyTable, timed: Sequence[Timed], held_out: int = 60) -> Report:
    """Fit every predictor to all but the last networks, and score it on those.

    Args:
        space: of the architectures.
        table: its latency table.
        timed: networks that were timed, at least ten more than `held_out`.
        held_out: how many of them the predictions are compared with, by their first measurement.

    Returns:
        The scores of the second measurement, of the predictors and of the baselines.

    Raises:
        InputError: there are too few networks, or the table is of another space.
    """
    if len(timed) < held_out + 10:
        raise InputError(f"{held_out} networks to test on need at least 10 more to fit to; got {len(timed)} in all")
    fit, test = timed[:-held_out], timed[-held_out:]
    weights = torch.stack([space.encode(t.architecture) for t in test]).double()
    measured = np.array([t.measured_ms for t in test])
    counts = [count(derive(space, t.architecture), space.image) for t in test]
    baselines: dict[str, Callable[[Any], float]] = {
        "multiply-accumulates": lambda c: c.macs,
        "parameters": lambda c: c.parameters,
        "activations": lambda c: c.activations,
    }
    return Report(
        table.card,
        len(fit),
        len(test),
        score("measured again", np.array([t.again_ms for t in test]), measured),
        tuple(score(p.name, p(weights).numpy(), measured) for p in predictors(space, table, fit)),
        tuple(score(name, np.array([of(c) for c in counts]), measured, ms=False) for name, of in baselines.items()),
    )


def recorded(table: str) -> tuple[Score, ...]:
    """Read the scores that were recorded with a shipped table.

    Args:
        table: its name, see `latency.shipped_table`.

    Returns:
        The scores of a second measurement, of every predictor and of every baseline.

    Raises:
        InputError: there is no such table, or its report is damaged.
    """
    path = shipped_table(table).with_suffix(".additivity.json")
    scores = storage.read_json(path, KIND, SCHEMA).get("scores")
    return storage.as_record(scores, tuple[Score, ...], f"{path} is a damaged additivity report")


def score(name: str, predicted: np.ndarray, measured: np.ndarray, *, ms: bool = True) -> Score:
    """Compare predictions with measured milliseconds.

    Args:
        name: of the prediction.
        predicted: a number (N,) for each network; only its order counts unless it is in milliseconds.
        measured: milliseconds (N,) of the same networks.
        ms: whether the predictions are in milliseconds.

    Returns:
        The rank correlations, the share of the fastest tenth, and the errors where `ms` holds.
    """
    off = np.abs(predicted / measured - 1)
    tenth = max(1, round(len(measured) / 10))
    fastest = lambda values: set(np.argsort(values, kind="stable")[:tenth].tolist())
    return Score(
        name,
        spearman=float(scipy.stats.spearmanr(predicted, measured).statistic),
        kendall=float(scipy.stats.kendalltau(predicted, measured).statistic),
        top_decile=len(fastest(predicted) & fastest(measured)) / tenth,
        rmse=float(np.sqrt(np.mean((predicted - measured) ** 2)) / np.median(measured)) if ms else None,
        within_5=float(np.mean(off <= 0.05)) if ms else None,
        within_10=float(np.mean(off <= 0.10)) if ms else None,
    )


def to_text(report: Report) -> str:
    """Write a report as a table of lines, with the verdict in words.

    Args:
        report: the scores.

    Returns:
        The text, for the terminal.
    """
    lines = [
        f"{report.held_out} networks timed end to end, predictors fitted to {report.fitted} others",
        f"{'':22} Spearman  Kendall  fastest tenth  RMSE/median  within 5 %  within 10 %",
    ]
    part = lambda value: "" if value is None else f"{100 * value:.0f} %"
    for s in (report.ceiling, *report.predictors, *report.baselines):
        lines.append(
            f"{s.name:22} {s.spearman:8.3f} {s.kendall:8.3f} {part(s.top_decile):>14} {part(s.rmse):>12} "
            f"{part(s.within_5):>11} {part(s.within_10):>12}"
        )
    words = {
        "reached": f"Spearman at least {SPEARMAN}, {WITHIN_10:.0%} within 10 %: reached",
        "ceiling": "within 2 points of measuring twice: this machine's noise forbids more",
        "noisy": "TOO NOISY for a verdict: two measurements of a network differ by more than 10 % too often; leave the "
        "machine alone and measure again",
        "short": "SHORT of the thresholds and of measuring twice: a sum of parts does not predict this runtime",
    }
    return "\n".join([*lines, f"best: {report.best.name}; {words[report.verdict]}", str(report.card)])


def to_json(report: Report) -> dict[str, Any]:
    """Write a report as a value for JSON.

    Args:
        report: the scores.

    Returns:
        The card, the verdict and a row for each score.
    """
    rows: Iterable[Score] = (report.ceiling, *report.predictors, *report.baselines)
    return {
        "card": report.card.to_json(),
        "fitted": report.fitted,
        "held_out": report.held_out,
        "best": report.best.name,
        "verdict": report.verdict,
        "passed": report.passed,
        "scores": [asdict(row) for row in rows],
    }
