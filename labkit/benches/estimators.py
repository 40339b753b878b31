"""Compares every gradient estimator with an enumerated gradient: bias with its error bar, variance and cost.

Shapes: S slots, K candidates, N draws of a call.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.benches import record
from labkit.benches.record import TABULAR, Bench, Verdicts, option
from labkit.benches.tabular import table as tabular
from labkit.estimators.costs import Deadline, TabularCost
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import (
    ClosedForm,
    Cost,
    DartsSoftmax,
    Estimate,
    Estimator,
    FittedUnas,
    GumbelSoftmax,
    Reinforce,
    StraightThrough,
    Unas,
    exact_gradient,
)
from labkit.networks.parallel import one_thread
from labkit.spaces import Edge, SearchSpace, five_layer
from labkit.system.errors import InputError, unknown

KIND, SCHEMA = "estimator bench", 1
DRAWS = 2_000  # of a call; the variance of a single draw follows from that of the calls
SUSPICIOUS = 4.0  # standard errors: beyond it an estimator is called biased, once a larger sample has agreed
FAR = 10.0  # standard errors: what a negative control has to be off by


@dataclass(frozen=True, eq=False)
class Problem:
    """An expected cost whose exact gradient can be enumerated.

    Attributes:
        name: Of the problem.
        space: At most some hundred architectures.
        cost: Op weights (N, S, K) -> costs (N,).
        control: A differentiable cost; `cost` itself where that is differentiable.
        multilinear: A control whose mean has a closed form; None where there is none.
        spread: Standard deviation of the logits at which the gradient is taken.
    """

    name: str
    space: SearchSpace
    cost: Cost
    control: Cost
    multilinear: Cost | None = None
    spread: float = 0.5

    def dist(self, softening: float = 0.0) -> ArchDistribution:
        """Return the distribution at which the gradient is taken: float64, the same random logits every time.

        Args:
            softening: Of the distribution.

        Returns:
            A distribution with logits (S, K).
        """
        dist = ArchDistribution(self.space, softening).double()
        noise = torch.randn(dist.logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with torch.no_grad():
            dist.logits.copy_(self.spread * noise)
        return dist


# --- problems -----------------------------------------------------------------------------------------------


def toy_space(layers: int = 3) -> SearchSpace:
    """Return a space of equal layers with four candidates each.

    Args:
        layers: With three there are 64 architectures.

    Returns:
        The space.
    """
    candidates = ("skip", "conv3x3", "conv5x5", "maxpool3x3")
    edges = tuple(Edge(4, 4, slot=s) for s in range(layers))
    return SearchSpace("toy", (candidates,) * layers, edges, (4, 8, 8), 3, "flat")


def toy_network(*, residual: bool, seed: int = 0) -> Cost:
    """Return the cross-entropy of a small mixed network on four examples.

    Each layer is the weighted sum of the identity and three tanh layers.

    Args:
        residual: Add each layer to its input, so that mixtures resemble the architectures that they mix.
        seed: Of its weights and examples.

    Returns:
        Op weights (N, 3, 4) -> costs (N,).
    """
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    matrices, read = 1.5 * normal(3, 3, 6, 6) / 6**0.5, 2 * normal(6, 3)
    x, labels = normal(4, 6), torch.tensor([0, 1, 2, 1])

    def cost(weights: Tensor) -> Tensor:
        h = x.to(weights).expand(len(weights), -1, -1)
        for layer in range(3):
            outputs = [h, *(torch.tanh(h @ matrix) for matrix in matrices[layer].to(weights))]
            each = [weights[:, layer, k, None, None] * output for k, output in enumerate(outputs)]
            mixed = reduce(torch.add, each)
            h = h + mixed if residual else mixed
        losses = F.cross_entropy((h @ read.to(weights)).flatten(0, 1), labels.repeat(len(weights)), reduction="none")
        return losses.reshape(len(weights), -1).mean(-1)

    return cost


def trap() -> Problem:
    """Return a problem with two candidates that are poor alone and excellent blended, and a planted optimum.

    Candidates of a slot: a slow one, the planted one, and the two of the trap. A blend of those two earns a bonus that
    no architecture ever gets, since an architecture has one of them at most. The slow candidate pays in the last slot
    only, and the latency target leaves room for one of it: that one, with the planted candidate elsewhere, is the
    optimum.
    """
    error = torch.tensor([[0.4, 0.2, 0.5, 0.6]] * 3 + [[-0.4, 0.2, 0.5, 0.6]], dtype=torch.float64)
    ms = torch.tensor([3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    space = toy_space(4)

    def cost(weights: Tensor) -> Tensor:
        alone = (weights * error.to(weights)).sum((-1, -2))
        blended = 8.0 * (weights[:, :, 2] * weights[:, :, 3]).sum(-1)
        late = ((weights * ms.to(weights)).sum((-1, -2)) - 6.0).clamp_min(0)
        return alone - blended + 0.5 * late

    return Problem("mixture trap", space, cost, cost, spread=0.0)


def toy_problems() -> tuple[Problem, ...]:
    """Return the problems that are made up: two toy networks and the mixture trap."""
    product, residual = toy_network(residual=False), toy_network(residual=True)
    return (
        Problem("toy network", toy_space(), product, product),
        Problem("toy network, residual", toy_space(), residual, residual),
        trap(),
    )


def table_problems(known: tabular.TabularBenchmark, latency_weight: float = 0.5) -> tuple[Problem, ...]:
    """Return the problems on measured values: latencies with the sum of parts as control, and error plus latency.

    Args:
        known: The tabular benchmark.
        latency_weight: Error fraction per millisecond.

    Returns:
        Four problems.
    """
    space, timed = known.space, known.latency()
    scale = 1 / (timed.measured_ms.max() - timed.measured_ms.min()).item()  # all latencies within one unit
    measured = TabularCost(space, scale * timed.measured_ms)
    table = TabularCost(space, scale * known.ms(by="table"))
    target = measured.values.mean()
    hinge = lambda ms: (ms - target).clamp_min(0)
    late = TabularCost(space, hinge(table.values))
    deadline, width = Deadline(target.item()), 0.05
    both = known.as_cost(latency_weight=latency_weight)
    return (
        Problem("measured latency", space, measured, table, table),
        Problem("measured latency, hinge", space, lambda z: hinge(measured(z)), lambda w: hinge(table(w)), late),
        Problem(
            "measured latency, deadline",
            space,
            lambda z: deadline.penalty(measured(z)),
            lambda w: deadline.smooth_penalty(table(w), width),
            TabularCost(space, deadline.penalty(table.values)),
        ),
        Problem("tabular benchmark", space, both, both, both),
    )


# --- estimators ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """An estimator of the bench, and its properties by derivation.

    Attributes:
        name: Of the estimator.
        make: Temperature -> a fresh estimator.
        unbiased: Whether its mean is the exact gradient.
        tempered: Whether the temperature matters.
        relaxes: Whether it runs every candidate, forward and backward.
        evaluates: Whether it runs the one-hot architecture as well.
        multilinear: Whether its control must be multilinear.
        own_control: Whether the cost must be its own control, so differentiable.
    """

    name: str
    make: Callable[[float], Estimator]
    unbiased: bool
    tempered: bool = True
    relaxes: bool = True
    evaluates: bool = True
    multilinear: bool = False
    own_control: bool = False

    def fits(self, problem: Problem) -> bool:
        """Return whether a problem has the control that this estimator needs.

        Args:
            problem: The problem.

        Returns:
            False where the bench leaves the pair out.
        """
        if self.multilinear and problem.multilinear is None:
            return False
        return problem.control is problem.cost or not self.own_control


@dataclass(frozen=True)
class NoCorrection(Estimator):
    """Negative control: UNAS without term (ii), the derivative of the conditional relaxation. Biased."""

    temperature: float = 0.4

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        relaxed = (control or cost)(sample.soft)
        surrogate = (value - relaxed).detach() * sample.log_prob + relaxed
        return Estimate(torch.autograd.grad(surrogate.mean(), dist.logits)[0], value.mean().item())


ENTRIES = (
    Entry("REINFORCE, no baseline", lambda t: Reinforce("none"), True, tempered=False, relaxes=False),
    Entry("REINFORCE, running mean", lambda t: Reinforce("running-mean"), True, tempered=False, relaxes=False),
    Entry("REINFORCE, leave-one-out", lambda t: Reinforce("leave-one-out"), True, tempered=False, relaxes=False),
    Entry("Gumbel-Softmax", GumbelSoftmax, False, evaluates=False),
    Entry("straight-through", StraightThrough, False, evaluates=False),
    Entry("DARTS softmax", lambda t: DartsSoftmax(), False, tempered=False, evaluates=False),
    Entry("REBAR, fitted scale", FittedUnas, True, own_control=True),  # where UNAS with a fitted scale is the same
    Entry("UNAS", Unas, True),
    Entry("UNAS, fitted scale", FittedUnas, True),
    Entry("closed form", lambda t: ClosedForm(), True, tempered=False, relaxes=False, multilinear=True),
    Entry("UNAS without (ii)", NoCorrection, False),
)


def skipping(control: Cost, below: float = 0.05) -> Cost:
    """Negative control: leave candidates of small weight out of the mixture, which saves time and biases.

    Args:
        control: Op weights (N, S, K) -> costs (N,).
        below: Weights below it become 0.

    Returns:
        A control like the one given.
    """
    return lambda weights: control(weights * (weights >= below))


# --- measuring ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """The result of one estimator on one problem.

    Attributes:
        unbiased: By its derivation.
        temperature: None where it does not matter.
        samples: Draws in all.
        bias: |mean - exact| / |exact|.
        noise: The bias that chance alone gives on average.
        worst_z: Largest deviation of a logit from the exact gradient, in standard errors.
        z: (S, K) deviation of each logit, in standard errors.
        variance: Trace of the covariance of a single draw's estimate.
        passes: Forward passes of one architecture that a draw costs; a backward pass counts as two.
        seconds_per_draw: On this machine, in calls of `DRAWS`.
        scale: Of the control, where it was fitted.
    """

    problem: str
    estimator: str
    unbiased: bool
    temperature: float | None
    softening: float
    samples: int
    bias: float
    noise: float
    worst_z: float
    z: tuple[tuple[float, ...], ...]
    variance: float
    passes: float
    seconds_per_draw: float
    scale: float | None = None

    @property
    def variance_seconds(self) -> float:
        """Variance after one second of draws: the smaller, the better the estimator for its time."""
        return self.variance * self.seconds_per_draw


def measure(
    problem: Problem,
    entry: Entry,
    *,
    temperature: float = 0.4,
    softening: float = 0.0,
    samples: int = 400_000,
    seed: int = 1,
) -> Row:
    """Compare an estimator with the exact gradient of a problem.

    Among hundreds of logits one lies four standard errors off by chance now and then. So an unbiased estimator with
    such a logit is measured again, with other and four times as many draws: a bias doubles its z, a chance does not.

    Args:
        problem: The problem.
        entry: The estimator.
        temperature: Of the relaxed sample.
        softening: Of the distribution.
        samples: Draws in all.
        seed: Of the draws.

    Returns:
        The row.
    """
    row = _measure(problem, entry, temperature, softening, samples, seed)
    if entry.unbiased and row.worst_z >= SUSPICIOUS:
        row = _measure(problem, entry, temperature, softening, 4 * samples, seed + 1)
    return row


def _measure(problem: Problem, entry: Entry, temperature, softening, samples, seed) -> Row:
    dist = problem.dist(softening)
    exact = exact_gradient(problem.cost, dist)
    control = problem.multilinear if entry.multilinear else problem.control
    estimator = entry.make(temperature)
    calls = max(2, samples // DRAWS)
    generator = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    estimates = torch.stack([estimator(problem.cost, dist, DRAWS, generator, control).gradient for _ in range(calls)])
    seconds = time.perf_counter() - started
    size, deviation = exact.norm().item(), estimates.mean(0) - exact
    error = estimates.std(0) / calls**0.5
    # A logit whose estimate never varies is either exact to rounding (z = 0) or off for certain.
    floor = 1e-9 * max(size, 1e-12)
    z = torch.where(deviation.abs() <= floor, 0.0, deviation / error.clamp_min(floor))
    mixed = problem.space.mask.sum().item() / len(problem.space.slots)
    return Row(
        problem=problem.name,
        estimator=entry.name,
        unbiased=entry.unbiased,
        temperature=temperature if entry.tempered else None,
        softening=softening,
        samples=calls * DRAWS,
        bias=deviation.norm().item() / size,
        noise=error.norm().item() / size,
        worst_z=z.abs().max().item(),
        z=tuple(tuple(round(x, 2) for x in line) for line in z.tolist()),
        variance=DRAWS * estimates.var(0).sum().item(),
        passes=entry.evaluates + 3 * mixed * entry.relaxes,
        seconds_per_draw=seconds / (calls * DRAWS),
        scale=round(estimator.scale, 4) if isinstance(estimator, FittedUnas) else None,
    )


def bench(
    over: Iterable[Problem],
    *,
    temperatures: Sequence[float] = (0.1, 0.2, 0.4, 1.0, 2.0),
    softenings: Sequence[float] = (0.0, 0.08),
    samples: int = 400_000,
    done: Iterable[Row] = (),
    on_row: Callable[[Row], None] | None = None,
) -> tuple[Row, ...]:
    """Measure every estimator on every problem, at each of its temperatures and at each softening.

    Args:
        over: The problems.
        temperatures: Of the relaxed sample.
        softenings: Of the distribution.
        samples: Draws of a row.
        done: Rows of an earlier run, which are kept.
        on_row: Called with each new row.

    Returns:
        All rows.
    """
    kept = {(row.problem, row.estimator, row.temperature, row.softening): row for row in done}
    rows = []
    for problem in over:
        for entry, temperature, softening in _grid(problem, temperatures, softenings):
            place = (problem.name, entry.name, temperature if entry.tempered else None, softening)
            if place in kept:
                rows.append(kept[place])
                continue
            row = measure(problem, entry, temperature=temperature, softening=softening, samples=samples)
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return tuple(rows)


def size_of(over: Iterable[Problem], temperatures: Sequence[float], softenings: Sequence[float]) -> int:
    """Return the number of rows that `bench` makes.

    Args:
        over: The problems.
        temperatures: Of the relaxed sample.
        softenings: Of the distribution.

    Returns:
        A number of rows.
    """
    return sum(1 for problem in over for _ in _grid(problem, temperatures, softenings))


def _grid(problem: Problem, temperatures, softenings) -> Iterator[tuple[Entry, float, float]]:
    for entry in ENTRIES:
        if not entry.fits(problem):
            continue
        for softening in softenings:
            for temperature in temperatures if entry.tempered else temperatures[:1]:
                yield entry, temperature, softening


def skipped_row(samples: int = 4_000_000) -> Row:
    """Measure UNAS on the toy network with candidates below weight 0.05 left out: a bias of some per cent.

    Args:
        samples: Draws in all.

    Returns:
        The row.
    """
    toy = toy_network(residual=False)
    problem = Problem("toy network", toy_space(), toy, skipping(toy))
    entry = Entry("UNAS, ops below 0.05 skipped", Unas, unbiased=False)
    return _measure(problem, entry, 0.4, 0.0, samples, 1)


def verdicts(rows: Sequence[Row]) -> tuple[tuple[str, bool], ...]:
    """Return the claims: every unbiased estimator is within the threshold, and every negative control far outside it.

    Args:
        rows: Rows of the bench; negative controls count on the toy network.

    Returns:
        Pairs of a claim and whether it holds.
    """
    worst = max((row for row in rows if row.unbiased), key=lambda row: row.worst_z)
    within = (
        f"unbiased estimators: {sum(row.unbiased for row in rows)} rows, worst z {worst.worst_z:.2f} "
        f"({worst.estimator}, {worst.problem}, {worst.samples:,} samples), below {SUSPICIOUS:g}"
    )
    controls = [row for row in rows if row.estimator in NEGATIVE and row.problem == "toy network" and _usual(row)]
    return (
        (within, worst.worst_z < SUSPICIOUS),
        *(
            (f"negative control {row.estimator}, {row.problem}: z {row.worst_z:.1f}, above {FAR:g}", row.worst_z > FAR)
            for row in controls
        ),
    )


def passed(rows: Sequence[Row]) -> bool:
    """Return whether all `verdicts` hold.

    Args:
        rows: Rows of the bench.

    Returns:
        True where they do.
    """
    return all(holds for _, holds in verdicts(rows))


NEGATIVE = ("UNAS without (ii)", "Gumbel-Softmax", "UNAS, ops below 0.05 skipped")


def _usual(row: Row) -> bool:
    return row.softening == 0 and row.temperature == 0.4


def milliseconds_per_estimate(draws: int = 10_000, repeats: int = 20) -> float:
    """Time one UNAS estimate on a table of 243 costs, on one thread.

    Args:
        draws: Of an estimate.
        repeats: Estimates, of which the fastest counts.

    Returns:
        Milliseconds.
    """
    space, generator = five_layer(), torch.Generator().manual_seed(0)
    cost, dist = TabularCost(space, torch.rand(space.size, generator=generator)), ArchDistribution(space)
    best = math.inf
    with one_thread():
        for _ in range(repeats):
            started = time.perf_counter()
            Unas()(cost, dist, draws, generator)
            best = min(best, time.perf_counter() - started)
    return 1e3 * best


def to_text(rows: Sequence[Row]) -> str:
    """Describe the rows at the usual temperature, problem by problem, and the verdicts.

    Args:
        rows: Rows of the bench.

    Returns:
        Lines of text.
    """
    lines = []
    for problem in dict.fromkeys(row.problem for row in rows):
        lines.append(
            f"{problem}{'':{max(1, 44 - len(problem))}}bias (by chance)   worst z   variance  passes   var x s"
        )
        for row in rows:
            if row.problem == problem and row.softening == 0 and row.temperature in (None, 0.4):
                sure = row.variance > 1e-15
                lines.append(
                    f"  {row.estimator:28} {'' if row.unbiased else 'biased':7} {100 * row.bias:7.2f} % "
                    f"({100 * row.noise:.2f} %) {row.worst_z if sure or row.unbiased else math.inf:9.1f} "
                    f"{row.variance:10.3g} {row.passes:7.1f} {row.variance_seconds:9.2g}"
                )
    claims = verdicts(rows)
    lines += [f"{'ok  ' if holds else 'FAIL'} {sentence}" for sentence, holds in claims]
    if len(claims) == 1:
        lines.append("no negative control was asked for: they are on the toy network, temperature 0.4, softening 0")
    return "\n".join(lines)


@dataclass(frozen=True)
class EstimatorBench(Bench[Row]):
    """Every gradient estimator, compared with the exact gradient."""

    kind, schema, row, resumes = KIND, SCHEMA, Row, True
    samples: int = option(400_000, "draws of a row")
    temperatures: tuple[float, ...] = option((0.1, 0.2, 0.4, 1.0, 2.0), "of the relaxed sample")
    softenings: tuple[float, ...] = option((0.0, 0.08), "of the distribution")
    problems: tuple[str, ...] = option((), "names with semicolons between; all by default", separator=";")
    tabular: str = option("five_layer", TABULAR)

    def __post_init__(self) -> None:
        if self.samples < 2 * DRAWS:
            raise InputError(f"the bench takes at least {2 * DRAWS} samples; got {self.samples}")
        if min(self.temperatures) <= 0 or min(self.softenings) < 0:
            raise InputError(
                f"temperatures are above 0 and softenings 0 or more; got {list(self.temperatures)}, "
                f"{list(self.softenings)}"
            )

    @cached_property
    def over(self) -> tuple[Problem, ...]:
        """The problems that are asked for."""
        every = {p.name: p for p in (*toy_problems(), *table_problems(tabular.load(self.tabular)))}
        for name in self.problems:
            if name not in every:
                raise unknown("problems are", name, every)
        return tuple(every[name] for name in self.problems or every)

    def request(self) -> dict[str, Any]:
        names = [problem.name for problem in self.over]
        return {**asdict(self), "problems": names}

    def total(self) -> int:
        return size_of(self.over, self.temperatures, self.softenings)

    def run(self, done: Sequence[Row], on_row: Callable[[Row], None]) -> Sequence[Row]:
        grid: dict[str, Any] = {"temperatures": self.temperatures, "softenings": self.softenings}
        rows = bench(self.over, samples=self.samples, done=done, on_row=on_row, **grid)
        return rows if self.problems else (*rows, skipped_row(10 * self.samples))

    def verdicts(self, rows: Sequence[Row]) -> Verdicts:
        return verdicts(rows)

    def derived(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"milliseconds_per_10000_samples": round(milliseconds_per_estimate(), 2)}

    def to_json(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"rows": [{**asdict(row), "variance_seconds": row.variance_seconds} for row in rows]}

    def text(self, rows: Sequence[Row]) -> str:
        return to_text(rows)


load = record.loader(EstimatorBench, "estimators")
"""Read the rows of a saved bench: a file, or the name of a shipped result."""
