"""What the rows of a comparison show: verdicts in pairs of seeds, regrets, and whether the weight steers the choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit.benches.comparison.rows import OURS, Comparison
from labkit.benches.tabular.table import TabularBenchmark
from labkit.stats import mean_interval, sign_flips


@dataclass(frozen=True)
class Verdict:
    """Whether `ours` is better than `baseline` at one latency weight, in pairs of the same seed.

    Attributes:
        latency_weight: Error fraction per millisecond.
        baseline: Name of a method.
        ours: Name of our method.
        gain: Mean of (baseline's cost - ours), as a fraction.
        low: Lower end of the 95 % bootstrap interval of that mean.
        high: Upper end.
        p: Two-sided, by sign flips.
        n: Pairs.
    """

    latency_weight: float
    baseline: str
    ours: str
    gain: float
    low: float
    high: float
    p: float
    n: int

    @property
    def better(self) -> bool:
        """A gain with p below .05."""
        return self.gain > 0 and self.p < 0.05

    @property
    def answer(self) -> str:
        """ "yes", "no, it is worse" or "not shown"."""
        return "yes" if self.better else "no, it is worse" if self.gain < 0 and self.p < 0.05 else "not shown"

    def __str__(self) -> str:
        return (
            f"weight {self.latency_weight:g}: {self.ours} beats {self.baseline}: {self.answer}, by "
            f"{100 * self.gain:+.2f} points ({100 * self.low:+.2f} to {100 * self.high:+.2f}), p = {self.p:.3f}, "
            f"n = {self.n}"
        )


def verdicts(
    found: Comparison, tabular: TabularBenchmark | None = None, latency: str | None = None, ours: str = OURS
) -> tuple[Verdict, ...]:
    """Compare a method with every other method at every weight.

    Args:
        found: The comparison.
        tabular: Of the same space and images.
        latency: Name of its latencies; by default the course's.
        ours: The method.

    Returns:
        One verdict for each weight and baseline; none for a baseline with fewer seeds, nor on one seed.
    """
    own = found.costs(ours, tabular, latency)
    claims = []
    for baseline in found.methods:
        if baseline == ours:
            continue
        other = found.costs(baseline, tabular, latency)
        if other.shape != own.shape or len(own) < 2:
            continue
        for w, gains in zip(found.latency_weights, (other - own).T):
            low, high = mean_interval(gains)
            claims.append(Verdict(w, baseline, ours, float(gains.mean()), low, high, sign_flips(gains), len(gains)))
    return tuple(claims)


def regrets(found: Comparison, method: str, tabular: TabularBenchmark, latency: str | None = None) -> np.ndarray:
    """Return how much more the choices of a method cost than the best architecture there is.

    Args:
        found: The comparison.
        method: The method.
        tabular: Of the same space and images.
        latency: Name of its latencies; by default the course's.

    Returns:
        (seeds, weights) fractions.
    """
    best = [tabular.as_cost(latency_weight=w, latency=latency).values.min().item() for w in found.latency_weights]
    return found.costs(method, tabular, latency) - np.array(best)


MEDIAN, NINETIETH = 0.01, 0.025  # true regret, as fractions: what a search may lose, and at its worst but a tenth


def regret_thresholds(
    found: Comparison, tabular: TabularBenchmark, latency: str | None = None, method: str = OURS
) -> tuple[tuple[str, bool], ...]:
    """Compare the true regret of a method with its thresholds, at each weight and over all.

    Args:
        found: The comparison.
        method: Whose choices are compared with the best; () where no seed has it.
        tabular: Of the same space and images.
        latency: Name of its latencies; by default the course's.

    Returns:
        Pairs of a claim and whether it holds; () where no seed has the method.
    """
    if method not in found.methods:
        return ()
    lost, claims = regrets(found, method, tabular, latency), []
    by_weight = {f"weight {w:g}": values for w, values in zip(found.latency_weights, lost.T)}
    for where, values in (by_weight | {"all weights": lost}).items():
        median, ninetieth = np.quantile(values, (0.5, 0.9))
        sentence = (
            f"{where}, {method}: true regret {100 * median:.2f} points in the median, at most {100 * MEDIAN:g}; "
            f"{100 * ninetieth:.2f} at the 90th percentile, at most {100 * NINETIETH:g}"
        )
        claims.append((sentence, bool(median <= MEDIAN and ninetieth <= NINETIETH)))
    return tuple(claims)


@dataclass(frozen=True)
class Steering:
    """How the weight that a choice realises follows the requested one.

    Attributes:
        slope: Of a line through the logarithms: 1 follows one to one, 0 not at all.
        low: Lower end of the 95 % bootstrap interval over seeds.
        high: Upper end.
        n: Seeds.
    """

    slope: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return (
            f"choices follow the latency weight with a slope of {self.slope:.2f} ({self.low:.2f} to {self.high:.2f}; "
            f"1 is one to one, 0 not at all), n = {self.n}"
        )


def steering(
    tabular: TabularBenchmark,
    chosen: Sequence[tuple[Sequence[float], Sequence[str]]],
    latency: str | None = None,
    resamples: int = 500,
) -> Steering | None:
    """Fit how realised latency weights follow the requested ones.

    Weights of 0, and choices at the ends of the front, determine no weight and are left out.

    Args:
        tabular: The tabular benchmark.
        chosen: Latency weights and what was chosen for them, a pair a seed.
        latency: Name of the latencies; by default the course's.
        resamples: Of the bootstrap.

    Returns:
        The fit; None where no choice determines its weight.
    """
    worth: dict[str, float | None] = {}
    for ops in {ops for _, several in chosen for ops in several}:
        worth[ops] = tabular.realised_weight(tabular.space.architecture(ops), latency)
    logs = [
        np.log([(w, own) for w, ops in zip(*pair) if w > 0 and (own := worth[ops]) is not None]).reshape(-1, 2)
        for pair in chosen
    ]

    def slope(seeds: Sequence[int]) -> float:
        asked, realised = np.concatenate([logs[i] for i in seeds]).T
        return np.polyfit(asked, realised, 1)[0] if len(set(asked)) > 1 else np.nan

    whole = slope(range(len(logs)))
    if np.isnan(whole):
        return None
    draws = np.random.default_rng(0).integers(0, len(logs), (resamples, len(logs)))
    low, high = np.nanquantile([slope(draw) for draw in draws], (0.025, 0.975))
    return Steering(float(whole), float(low), float(high), len(logs))
