"""A comparison as text, and as what its figure takes."""

from functools import partial
from statistics import fmean

import numpy as np

from labkit.benches.comparison.rows import OURS, SCRATCH, SWEEP, Comparison
from labkit.benches.comparison.verdicts import regret_thresholds, regrets, steering, verdicts
from labkit.benches.tabular.table import TabularBenchmark
from labkit.stats import expected_best


def drawn(
    found: Comparison, tabular: TabularBenchmark | None = None, latency: str | None = None, *, estimators: bool = False
) -> tuple[dict[str, np.ndarray], tuple[float, ...], str, str, tuple[str, ...]]:
    """Return the arguments of `plots.comparison`: regrets where a tabular benchmark is given, else costs, in points.

    Args:
        found: The comparison.
        tabular: Of the same space and images.
        latency: Name of its latencies; by default the course's.
        estimators: Of sweeps that differ in the estimator alone, instead of the methods.

    Returns:
        (seeds, weights) values by method, the weights, our method, the label of the values, and verdicts.
    """
    of = found.costs if tabular is None else partial(regrets, found, tabular=tabular, latency=latency)
    what = "test error + weight x ms (points)" if tabular is None else "true regret (points)"
    if estimators:
        costs = {name: 100 * of(method) for name, method in found.estimators.items()}
        return costs, found.latency_weights, found.asked["search"]["estimator"], what, ()
    against_random = [v for v in verdicts(found, tabular, latency) if v.baseline == "random"]
    says = tuple(f"ours beats random at equal\ncost: {v.answer}, p = {v.p:.3f}, n = {v.n}" for v in against_random)
    other = set(found.estimators.values()) - {SWEEP}
    return {m: 100 * of(m) for m in found.methods if m not in other}, found.latency_weights, OURS, what, says


def to_text(found: Comparison, tabular: TabularBenchmark | None = None, latency: str | None = None) -> str:
    """Describe provenance, the cost of every method at every weight, what it was charged, and the verdicts.

    Args:
        found: The comparison; of one that is under way what there is, and what it lacks.
        tabular: Of the same space and images.
        latency: Name of its latencies; by default the course's.

    Returns:
        Lines of text.
    """
    lacking = []
    if tabular is None and (untrained := found.missing()):
        seeds = ", ".join(str(seed) for seed in sorted({job.seed for job in untrained}))
        lacking.append(f"{len(untrained)} chosen networks are not trained yet: what is of seed {seeds} is left out")
        found = found.whole_seeds()
    made = {method: sum(row.method == method for row in found.rows) for method in found.methods}
    most = max(made.values(), default=0)
    lacking += [f"{method} has {n} of {most} seeds, and no verdict" for method, n in made.items() if n < most]
    if most < 2:
        lacking.append(f"a verdict takes two seeds, and there is {most or 'none'}")
    what = "test error + weight x ms" if tabular is None else "regret: above the least error + weight x ms"
    of = {m: 100 * (found.costs(m) if tabular is None else regrets(found, m, tabular, latency)) for m in found.methods}
    lines = [*_made(found, most, tabular, latency), f"{what}, in points: median (90th percentile) of the seeds"]
    weights = f"{'method':24}" + "".join(f"{f'weight {w:g}':>18}" for w in found.latency_weights)
    lines.append(f"{weights}   seconds  evaluated")
    for method, values in of.items():
        cells = "".join(f"{np.median(v):9.2f} ({np.quantile(v, 0.9):5.2f})" + " " for v in values.T)
        rows = [row for row in found.rows if row.method == method]
        spent, evaluated = fmean(row.seconds for row in rows), fmean(row.evaluated for row in rows)
        lines.append(f"{method:24} {cells}{spent:9.0f} {evaluated:7.0f}")
    if tabular is not None and (rows := [row for row in found.rows if row.method == SCRATCH]):
        n = round(fmean(row.evaluated for row in rows))
        every = [tabular.as_cost(latency_weight=w, latency=latency).values.numpy() for w in found.latency_weights]
        means = [100 * (expected_best(costs, n) - costs.min()) for costs in every]
        lines.append(f"{f'expected best of {n}':24} {''.join(f'{mean:9.2f} (mean) ' for mean in means)}")
    if most > 1:
        lines += ["mean +- standard deviation of the seeds", weights]
        for method, values in of.items():
            spread = lambda v: f" +- {v.std(ddof=1):4.2f} " if len(v) > 1 else " " * 9
            cells = "".join(f"{v.mean():9.2f}{spread(v)}" for v in values.T)
            lines.append(f"{method:24} {cells.rstrip()}")
    if tabular is not None:
        for method in found.methods:
            chosen = [(found.latency_weights, row.ops) for row in found.rows if row.method == method]
            if (followed := steering(tabular, chosen, latency)) is not None:
                lines.append(f"{method}: {followed}")
        lines += [
            f"{'ok  ' if holds else 'FAIL'} {sentence}"
            for sentence, holds in regret_thresholds(found, tabular, latency)
        ]
    lines += map(str, verdicts(found, tabular, latency))
    return "\n".join([*lines, *lacking])


def _made(found: Comparison, seeds: int, tabular: TabularBenchmark | None, latency: str | None) -> list[str]:
    """What was compared, and a line for each command, machine or version that made some of it."""
    card = found.table.card if tabular is None else tabular.latency(latency).card
    images = f" on {found.asked['data']['name']}" if "data" in found.asked else ""
    lines = [f"{found.space.name}{images}, {seeds} seed{'s' * (seeds != 1)}, latencies of {card}"]
    for made in (*found.made.get("earlier", ()), found.made):
        if {"date", "device", "versions"} <= set(made):
            versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
            lines.append(f"made {made['date']} on {made['device']} with {versions}")
    return list(dict.fromkeys(lines))
