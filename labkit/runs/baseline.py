"""Was the search worth it? What it chose against random networks and plain controls, trained alike and timed in turn.

Three kinds of baselines have the time of the choice: random networks of the space just inside the same limit, a ResNet
and a MobileNetV2 that are sized by the stopwatch, and, at equal cost of search, the best of as many random networks as
can be trained in the seconds of the search. All are trained by one recipe from the same seeds, so each seed is a pair.
Only validation images choose; test images are counted for the result.
"""

import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median, stdev
from typing import Any, ClassVar

import torch
from torch import nn

from labkit import plots
from labkit.benches.record import in_sittings
from labkit.data import ImageSet
from labkit.latency.cards import Card
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.measuring import measure
from labkit.latency.sizing import sized
from labkit.latency.stopwatch import NoisyMachine
from labkit.networks.controls import FAMILIES, MOBILENET, RESNET, Control
from labkit.networks.supernet import derive
from labkit.networks.training import Diverged, TrainConfig, error, train
from labkit.runs.run import BASELINES, Run, trained_by
from labkit.runtimes.registry import loaded
from labkit.spaces import Architecture, SearchSpace
from labkit.stats import Paired, paired
from labkit.system import storage
from labkit.system.device import device_name, threads
from labkit.system.errors import InputError, unknown
from labkit.system.processes import as_finished, workers_for

CHOSEN, RANDOM, CANDIDATE, EQUAL_COST = "chosen", "random", "candidate", "best at equal cost"
DEADLINE, OWN = "deadline", "own ms"
INSIDE = 0.9  # share of the deadline from which on a network is just inside it
NEAR = 0.1  # share by which others may differ from the choice's own milliseconds
MOST_CANDIDATES = 256  # at equal cost, a seed
SIZING_SECONDS = 0.1  # of timing one size of a control
UNEQUAL = 0.1  # share by which a control that was sized for a time may miss it
NEXT_SEED = 1_000_003  # from a training that decides to the one that is compared: its luck is not kept
WORSE, BETTER, OPEN = "worse", "better", "not shown"


@dataclass(frozen=True, kw_only=True)
class BaselinesRequest:
    """Which baselines are trained, and how.

    Attributes:
        seeds: trainings of each network; each seed has random networks of its own.
        networks: random networks a seed.
        controls: keys of `networks.controls.FAMILIES`.
        equal_cost: also as many random networks, each seed, as can be trained in the seconds of the search.
        training: the recipe for all; None: as `export` trained the choice, or else six epochs.
        runtime: in which they are timed; None: that of the latency table of the run.
        device: where they are trained, "cpu" or "cuda".
        seconds: of timing each.
        workers: processes that train, one network each; None: one a core. On a GPU it is this process.
    """

    seeds: int = 3
    networks: int = 3
    controls: tuple[str, ...] = (RESNET, MOBILENET)
    equal_cost: bool = False
    training: TrainConfig | None = None
    runtime: str | None = None
    device: str = "cpu"
    seconds: float = 0.2
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 3 or self.networks < 1:
            raise InputError(
                f"a verdict takes at least 3 seeds, and a random network in each; got {self.seeds} and {self.networks}"
            )
        for name in self.controls:
            if name not in FAMILIES:
                raise unknown("controls are", name, FAMILIES)


@dataclass(frozen=True)
class Target:
    """A range of milliseconds by the table of the run, in which random networks are drawn.

    Attributes:
        name: DEADLINE or OWN.
        low_ms: the least.
        high_ms: the most.
        times: what a control may take, in times of the choice.
    """

    name: str
    low_ms: float
    high_ms: float
    times: float

    def __str__(self) -> str:
        if self.name == DEADLINE:
            return f"just inside the deadline of {self.high_ms:.3g} ms"
        return f"at the choice's own {(self.low_ms + self.high_ms) / 2:.3g} ms"


@dataclass(frozen=True)
class Sized:
    """A control that was sized for a target; without one, even the smallest of the family is too slow."""

    target: str
    family: str
    control: str | None


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        group: CHOSEN, RANDOM, CANDIDATE, EQUAL_COST or the family of a control.
        target: the name of its target; "" for the choice, which is compared at all.
        network: the architecture, or the control as text.
        seed: of the weights and the order of the images.
        valid_error: fraction of the validation images.
        test_error: fraction of the test images; None for a candidate, which may still be dropped.
        seconds: of the processor on a CPU, of the clock on a GPU.
        diverged: whether the loss became infinite; the errors are then those of guessing.
    """

    group: str
    target: str
    network: str
    seed: int
    valid_error: float
    test_error: float | None
    seconds: float
    diverged: bool = False


@dataclass(frozen=True)
class Timed:
    """What a network takes, timed in turn with all others."""

    network: str
    ms: float
    spread_ms: float


@dataclass(frozen=True)
class About:
    """What the rows of a record have in common. A later call must repeat it to resume."""

    architecture: Architecture
    data: str  # digest of the images
    table: str  # of the latency table
    training: TrainConfig  # without its seed
    networks: int
    runtime: str
    device: str


@dataclass(frozen=True)
class Comparison:
    """The choice against one baseline, in pairs of the same seed.

    Attributes:
        target: at which time.
        group: which baseline.
        baseline: the same in words.
        ours: test errors of the choice, a seed each.
        theirs: those of the baseline; of several random networks their median.
        gain: what the baseline has more, in fractions: below zero the choice is worse.
    """

    target: Target
    group: str
    baseline: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    gain: Paired

    @property
    def answer(self) -> str:
        """WORSE, BETTER, or OPEN where p is not below .05."""
        return OPEN if not self.gain.shown else BETTER if self.gain.mean > 0 else WORSE

    def __str__(self) -> str:
        return verdict(f"{self.baseline} {self.target}", self.gain)


def verdict(baseline: str, gain: Paired) -> str:
    """What a paired comparison says: a loss, a win, or that nothing is shown.

    Args:
        baseline: in words.
        gain: test error of the baseline minus that of the choice, in fractions.

    Returns:
        A sentence with the difference in points, its 95 % interval, p and the number of seeds.
    """
    answer = OPEN if not gain.shown else BETTER if gain.mean > 0 else WORSE
    says = {
        WORSE: f"The choice is worse than {baseline}",
        BETTER: f"The choice is better than {baseline}",
        OPEN: f"No difference is shown from {baseline}",
    }[answer]
    points = f"{100 * abs(gain.mean):.1f} points {'less' if gain.mean > 0 else 'more'} test error"
    interval = f"{-100 * gain.high:+.1f} to {-100 * gain.low:+.1f}"
    return f"{says}: {points} ({interval}), p = {gain.p:.3f}, {gain.n} seeds."


@dataclass(frozen=True)
class Baselines:
    """A record of baselines: what was asked, the controls that were sized, the timings and a row a training."""

    kind: ClassVar[str] = "baselines"
    schema: ClassVar[int] = 1
    about: About
    made: dict[str, Any]
    targets: tuple[Target, ...]
    tested: int  # test images
    budget: float  # seconds of one core that the search took
    card: dict[str, Any] | None = None  # of the timings
    controls: tuple[Sized, ...] = ()
    timed: tuple[Timed, ...] = ()
    rows: tuple[Row, ...] = ()

    def of(self, group: str, target: str = "") -> tuple[Row, ...]:
        """Return the trainings of a group.

        Args:
            group: name of the group.
            target: name of the target; "" for the choice itself.

        Returns:
            The rows of both.
        """
        return tuple(row for row in self.rows if (row.group, row.target) == (group, target))

    def errors(self, group: str, target: str = "") -> dict[int, float]:
        """Return the test error of each seed: the median of those that a seed has.

        Args:
            group: name of the group.
            target: name of the target; "" for the choice itself.

        Returns:
            Error fractions by seed, in rising order of the seeds.
        """
        found: dict[int, list[float]] = {}
        for row in self.of(group, target):
            if row.test_error is not None:
                found.setdefault(row.seed, []).append(row.test_error)
        return {seed: median(errors) for seed, errors in sorted(found.items())}

    @property
    def groups(self) -> tuple[tuple[Target, str], ...]:
        """Every target with each group of baselines that has rows for it."""
        order = (RANDOM, EQUAL_COST, *FAMILIES)
        return tuple((t, group) for t in self.targets for group in order if self.of(group, t.name))

    @property
    def ms(self) -> dict[str, float]:
        """Measured milliseconds of each network that was timed."""
        return {one.network: one.ms for one in self.timed}

    def title(self, group: str, target: str) -> str:
        """Name a baseline in words.

        Args:
            group: name of the group.
            target: name of the target.

        Returns:
            The words.
        """
        rows = self.of(group, target)
        if group == RANDOM:
            n = self.about.networks
            return "a random network" if n == 1 else f"the median of {n} random networks"
        if group == EQUAL_COST:
            each = [sum(row.seed == seed for row in self.of(CANDIDATE, target)) for seed in {r.seed for r in rows}]
            return f"the best of {round(fmean(each))} random networks, trained in the seconds of the search,"
        return f"the {Control.parse(rows[0].network).described()},"

    @property
    def missed(self) -> dict[tuple[str, str], float]:
        """Family and target of the controls that miss their time, timed in turn, with the share: no fair comparison."""
        own, times = self.ms.get(str(self.about.architecture)), {t.name: t.times for t in self.targets}
        if own is None:
            return {}
        shares = {
            (one.family, one.target): self.ms[one.control] / own / times[one.target] - 1
            for one in self.controls
            if one.control in self.ms
        }
        return {key: share for key, share in shares.items() if abs(share) > UNEQUAL}

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The choice against each baseline of its time: losses first, then what is open, then wins."""
        ours, found = self.errors(CHOSEN), []
        for target, group in self.groups:
            theirs = self.errors(group, target.name)
            seeds = [seed for seed in ours if seed in theirs]
            if len(seeds) < 2 or (group, target.name) in self.missed:
                continue
            a, b = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
            gain = paired([y - x for x, y in zip(a, b)], 1 / self.tested)
            found.append(Comparison(target, group, self.title(group, target.name), tuple(a), tuple(b), gain))
        order = (WORSE, OPEN, BETTER)
        return tuple(sorted(found, key=lambda one: (order.index(one.answer), one.gain.mean)))

    @property
    def whole(self) -> bool:
        """Whether all that was asked for is trained and timed: the timing is the last act."""
        return {row.network for row in self.rows if row.group != CANDIDATE} == {one.network for one in self.timed}

    @property
    def lacking(self) -> tuple[str, ...]:
        """What could not be compared, in sentences."""
        said = [
            f"Even the smallest {FAMILIES[one.family].title} is too slow: none is {target}."
            for one in self.controls
            for target in self.targets
            if one.control is None and one.target == target.name
        ]
        for target in self.targets:
            if self.rows and not self.of(RANDOM, target.name):
                said.append(f"The space has no other network {target}.")
        if not self.whole:
            said.append("The record is not finished: the same command goes on from it.")
        for (family, goal), share in self.missed.items():
            rows = self.of(family, goal)
            name = rows[0].network if rows else family
            missed = f"misses the time that it was sized for by {share:+.0%}"
            said.append(f"Timed with all others, {name} {missed}: not compared.")
        diverged = sum(row.diverged for row in self.rows)
        return (*said, *([f"{diverged} trainings diverged, and count as guessing."] if diverged else []))

    @property
    def verdict(self) -> str:
        """The whole in a sentence: losses before wins."""
        answers = [one.answer for one in self.comparisons]
        if not answers:
            return "Nothing is compared yet."
        worse, undecided, better = (answers.count(answer) for answer in (WORSE, OPEN, BETTER))
        return (
            f"The choice is worse than {worse} of {len(answers)} baselines, not shown to differ from {undecided}, "
            f"better than {better}."
        )


def baselines(
    run: Run,
    request: BaselinesRequest = BaselinesRequest(),
    *,
    data: ImageSet | None = None,
    made: dict[str, Any] | None = None,
    download: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Baselines:
    """Train the choice of a run and its baselines alike, time them in turn, and keep the record in the run's folder.

    Every training is kept as it ends, so a call that was stopped resumes. More seeds, another control or equal cost may
    be asked for later; the rest has to be repeated.

    Args:
        run: a search that was saved.
        request: which baselines, and how they are trained.
        data: the images of the search, where no registered function makes them again.
        made: provenance of this call: command, device, versions, date.
        download: let torchvision fetch the images.
        on_row: called with each new training.

    Returns:
        The record, also in `baselines.json`.

    Raises:
        InputError: the images are not those of the search, or the record in the folder is of another request.
    """
    if data is None:
        data = run.image_set(download=download)
    run.check_images(data)
    found = _opened(run, request, data, made or {})

    def keep(**changes: Any) -> None:
        nonlocal found
        found = replace(found, **changes)
        storage.write_record(run.folder / BASELINES, found)

    stopwatch = _Stopwatch(run, found.about.runtime, request.seconds)
    for target, family in itertools.product(found.targets, request.controls):
        if (target.name, family) not in {(one.target, one.family) for one in found.controls}:
            fit = sized(family, target.times, stopwatch.times)
            keep(controls=(*found.controls, Sized(target.name, family, None if fit is None else str(fit.control))))

    def finished(row: Row) -> None:
        keep(rows=(*found.rows, row))
        on_row(row)

    config = found.about.training
    done = {_key(row) for row in found.rows}
    jobs = [job for job in _jobs(run, request, found) if job.key not in done]
    for row in _trained(jobs, run.space, data, config, request):
        finished(row)
    if request.equal_cost:
        for seed in range(request.seeds):
            _search_at_random(run, seed, request, data, lambda: found, finished)
    if not found.whole:
        names = dict.fromkeys(row.network for row in found.rows if row.group != CANDIDATE)
        timed, card = stopwatch.in_turn(names)
        keep(timed=timed, card=card.to_json())
    return found


def load(run: Run) -> Baselines | None:
    """Read the record of a run's baselines.

    Args:
        run: a search that was saved.

    Returns:
        The record; None where there is none.

    Raises:
        InputError: it is damaged.
    """
    path = run.folder / BASELINES
    return storage.read_record(path, Baselines) if path.exists() else None


def targets(run: Run) -> tuple[Target, ...]:
    """The milliseconds at which a run is compared, by its table.

    Just inside its deadline, where it has one. At the choice's own, within a tenth, where there is none or the choice
    lies far below it.

    Args:
        run: gives the table, the deadline and the choice.

    Returns:
        One target, or two where the choice leaves time of its deadline unused.
    """
    own, limit = run.table.table_ms(run.result.architecture), run.result.config.limit_ms
    most = (1 + NEAR) * own if limit is None else min((1 + NEAR) * own, limit)
    alone = Target(OWN, (1 - NEAR) * own, max(own, most), 1.0)
    if limit is None:
        return (alone,)
    uses = INSIDE * limit <= own <= limit * (1 + 1e-9)
    inside = Target(DEADLINE, INSIDE * limit, max(limit, own) if uses else limit, 1.0 if uses else limit / own)
    return (inside,) if uses else (inside, alone)


def to_text(found: Baselines) -> str:
    """Verdicts, losses first, and the table, for people.

    Args:
        found: the record.

    Returns:
        Lines of text.
    """
    lines = [found.verdict, *map(str, found.comparisons), *found.lacking, ""]
    head, *rows = standings(found)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (head, *rows)]
    return "\n".join([*lines, *notes(found)])


def line(row: Row) -> str:
    """One training as a line of text.

    Args:
        row: of a record.

    Returns:
        Seed, group, network, test error and seconds.
    """
    wrong = "not tested" if row.test_error is None else f"{100 * row.test_error:.1f} % test error"
    where = f" ({row.target})" if row.target else ""
    return f"seed {row.seed}, {row.group}{where}: {row.network}, {wrong}, {row.seconds:.0f} s"


def standings(found: Baselines) -> list[tuple[str, ...]]:
    """The table of a record.

    Args:
        found: the record.

    Returns:
        A head, the choice, and a row for each baseline: name, where compared, milliseconds, test error, trainings.
    """
    rows: list[tuple[str, ...]] = [("network", "compared", "measured ms", "test error %", "trainings")]
    for target, group in ((None, CHOSEN), *found.groups):
        of = found.of(group, "" if target is None else target.name)
        ms = [found.ms[row.network] for row in of if row.network in found.ms]
        errors = list(found.errors(group, "" if target is None else target.name).values())
        spread = f" +- {100 * stdev(errors):.1f}" if len(errors) > 1 else ""
        took = f"{min(ms):.3g}" + (f" to {max(ms):.3g}" if max(ms) > 1.005 * min(ms) else "") if ms else "-"
        name = "the choice of the search" if target is None else found.title(group, target.name).rstrip(",")
        error_text = f"{100 * fmean(errors):.1f}{spread}" if errors else "-"
        rows.append((name, "" if target is None else str(target), took, error_text, str(len(of))))
    return rows


def notes(found: Baselines) -> tuple[str, ...]:
    """What the numbers of the table are of.

    Args:
        found: the record.

    Returns:
        Sentences: how errors and milliseconds were obtained, and what the search cost.
    """
    error_rates = list(found.errors(CHOSEN).values())
    rate = fmean(error_rates) if error_rates else 0.5
    by_images = 100 * (rate * (1 - rate) / found.tested) ** 0.5
    config, card = found.about.training, found.card
    timed = "not timed yet" if card is None else f"timed in turn: {Card.from_json(card).recorded()}"
    searched = f"At equal cost: {found.budget:.0f} seconds of one core, as many as the search took."
    return (
        f"Test error: mean +- standard deviation over seeds, {config.epochs} epochs each; one standard error of "
        f"{found.tested:,} test images is {by_images:.1f} points. p: paired t-test over seeds, each by itself.",
        f"Milliseconds: {timed}.",
        *([searched] if any(row.group == EQUAL_COST for row in found.rows) else []),
    )


def picture(found: Baselines) -> plots.Picture:
    """Draw test error against measured milliseconds, a dot a training, the choice marked.

    Args:
        found: a record that is timed.

    Returns:
        The figure, with the verdict as its text alternative.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    for target, group in (*((t, g) for t, g in found.groups), (None, CHOSEN)):
        of = found.of(group, "" if target is None else target.name)
        where = f" ({target.name})" if target is not None and len(found.targets) > 1 else ""
        names = {CHOSEN: "chosen", RANDOM: "random networks"}
        title = names.get(group) or (FAMILIES[group].title if group in FAMILIES else group)
        points = [(found.ms[r.network], r.test_error) for r in of if r.network in found.ms and r.test_error is not None]
        groups[title + where] = points
    runtime = "" if found.card is None else Card.from_json(found.card).runtime
    drawn = plots.baselines({name: points for name, points in groups.items() if points}, "chosen", runtime)
    return plots.picture(drawn, f"Test error against measured latency. {found.verdict}")


# --- what is trained ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    group: str
    target: str
    network: Architecture | Control
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.group, self.target, str(self.network), self.seed


def _key(row: Row) -> tuple[str, str, str, int]:
    return row.group, row.target, row.network, row.seed


def _opened(run: Run, request: BaselinesRequest, data: ImageSet, made: dict[str, Any]) -> Baselines:
    """The record to add to: that of an earlier call with this request, or a new one."""
    card = run.table.card
    training = request.training or trained_by(run) or TrainConfig()
    training = replace(training, seed=0, batch_size=min(training.batch_size, max(2, len(data.train))))
    runtime = request.runtime or card.runtime
    device = loaded_device(card)
    loaded(runtime, card.dtype, device)
    about = About(
        run.result.architecture, data.digest, _digest(run.table.to_json()), training,
        request.networks, runtime, request.device,
    )  # fmt: skip
    cores = run.threads if run.device == "cpu" else 1
    before = load(run)
    if before is None:
        return Baselines(about, made, targets(run), len(data.test), run.result.seconds * cores)
    if before.about != about:
        different = [name for name in asdict(about) if getattr(before.about, name) != getattr(about, name)]
        path = run.folder / BASELINES
        raise InputError(
            f"{path} is of another request ({', '.join(different)} differ): repeat that, or remove the file"
        )
    return replace(before, made=in_sittings(before.made, len(before.rows), made))


def loaded_device(card: Card) -> str:
    """Where a measurement can be made again.

    Args:
        card: of the measurement.

    Returns:
        "cuda" if this machine has the GPU of the card, else "cpu".
    """
    return "cuda" if torch.cuda.is_available() and device_name("cuda") == card.device else "cpu"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _jobs(run: Run, request: BaselinesRequest, found: Baselines) -> list[_Job]:
    """All trainings but those at equal cost, seed after seed."""
    seeds = range(request.seeds)
    random = {t.name: drawn(run, t, request.networks, request.seeds) for t in found.targets}
    controls = [one for one in found.controls if one.control is not None and one.family in request.controls]
    jobs = []
    for seed in seeds:
        jobs.append(_Job(CHOSEN, "", run.result.architecture, seed))
        jobs += [_Job(RANDOM, name, a, seed) for name, several in random.items() for a in several[seed]]
        jobs += [_Job(one.family, one.target, Control.parse(one.control or ""), seed) for one in controls]
    return jobs


def drawn(run: Run, target: Target, n: int, seeds: int, first: int = 0) -> list[list[Architecture]]:
    """Random networks of a target, uniform among those of its milliseconds, `n` for each seed.

    Each seed has others as long as there are, and the networks of a seed do not depend on how many seeds follow.

    Args:
        run: gives the space, the table and the choice, which is left out.
        target: the milliseconds.
        n: how many a seed.
        seeds: how many seeds.
        first: begins the random numbers.

    Returns:
        A list a seed, of fewer than `n` where the space has no more.
    """
    mask = run.space.mask.double()
    spread = LatencyDistribution(LatencyModel(run.table), mask / mask.sum(-1, keepdim=True))
    used, lists = {run.result.architecture}, []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(first + seed)
        wanted = n + len(used)
        found = spread.draw(run.space, wanted, target.low_ms, target.high_ms, generator)
        fresh = [a for a in found if a not in used]
        again = [a for a in found if a in used and a != run.result.architecture]
        lists.append((fresh + again)[:n])
        used |= set(lists[-1])
    return lists


def _search_at_random(
    run: Run,
    seed: int,
    request: BaselinesRequest,
    data: ImageSet,
    found: Callable[[], Baselines],
    finished: Callable[[Row], None],
) -> None:
    """As many random networks as can be trained in the time of the search; the best on validation images is tested.

    No training is begun that, by those before, would end later; one is always made. The candidates are trained without
    a look at the test images, and from another seed than the one that is compared: then the best is trained alike, as
    the choice of the search is, and the luck of the training that made it the best is not kept.
    """
    record = found()
    target = record.targets[0]
    if any(row.seed == seed for row in record.of(EQUAL_COST, target.name)):
        return
    of_seed = lambda: [row for row in found().of(CANDIDATE, target.name) if row.seed == seed]
    seconds = lambda: [row.seconds for row in of_seed()]
    over = lambda: bool(seconds()) and sum(seconds()) + fmean(seconds()) > record.budget
    (candidates,) = drawn(run, target, MOST_CANDIDATES, 1, first=NEXT_SEED + seed)
    done = {row.network for row in of_seed()}
    jobs = [_Job(CANDIDATE, target.name, a, seed) for a in candidates if str(a) not in done]
    config = record.about.training
    if not over():
        with closing(_trained(jobs, run.space, data, config, request)) as rows:
            for row in rows:
                finished(row)
                if over():
                    break
    if of_seed():
        best = min(of_seed(), key=lambda row: row.valid_error)
        job = _Job(EQUAL_COST, target.name, run.space.architecture(best.network), seed)
        for row in _trained([job], run.space, data, config, request):
            finished(row)


def _trained(
    jobs: Sequence[_Job], space: SearchSpace, data: ImageSet, config: TrainConfig, request: BaselinesRequest
) -> Generator[Row, None, None]:
    """A row a job, as they are finished: on one thread each in processes, or on a GPU one after the other."""
    if not jobs:
        return
    workers = workers_for(len(jobs), request.workers)
    if request.device != "cpu" or workers == 1:
        there = data.to(request.device)
        for job in jobs:
            with threads(1):
                row = train_one(job, space, there, config)
            yield row
        return
    yield from as_finished(_train_here, jobs, workers, start=_start_worker, started_with=(space, data, config))


_worker: Callable[[_Job], Row] | None = None  # set once a process, so that the images are sent once


def _start_worker(space: SearchSpace, data: ImageSet, config: TrainConfig) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = lambda job: train_one(job, space, data, config)


def _train_here(job: _Job) -> Row:
    assert _worker is not None
    return _worker(job)


def built(network: Architecture | Control, space: SearchSpace, classes: int, seed: int = 0) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        network: an architecture of `space`, or a control for its images.
        space: of the run.
        classes: of the images.
        seed: of the weights.

    Returns:
        A module from images (B, C, H, W) to logits (B, classes).
    """
    if isinstance(network, Control):
        return network.build(space.image, classes, seed)
    return derive(space, network, seed=seed)


def train_one(job: _Job, space: SearchSpace, data: ImageSet, config: TrainConfig) -> Row:
    """Train one network from scratch. A candidate is not tested.

    Args:
        job: which network, from which seed.
        space: of the run.
        data: images, on the device where it is trained.
        config: the recipe; its seed is that of the job.

    Returns:
        The errors. Those of guessing where the training diverges.
    """
    device = data.train.pixels.device
    seed = job.seed + NEXT_SEED * (job.group == CANDIDATE)
    network = built(job.network, space, len(data.classes), seed).to(device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started, diverged = clock(), False
    guessing = 1 - 1 / len(data.classes)
    try:
        records = train(network, data, replace(config, seed=seed), validate="at the end")
        valid_error = float(records[-1]["valid_error"])
    except Diverged:
        diverged, valid_error = True, guessing
    seconds = clock() - started
    test_error = None
    if job.group != CANDIDATE:
        test_error = guessing if diverged else error(network, data.test)
    return Row(*job.key, valid_error, test_error, round(seconds, 2), diverged)


class _Stopwatch:
    """Times networks in turn as the run's table was timed."""

    def __init__(self, run: Run, runtime: str, seconds: float):
        self.run, self.runtime, self.seconds = run, runtime, seconds
        self.known: dict[Control, float] = {}

    def times(self, control: Control) -> float:
        """What a control takes, in times of the choice, the two timed in turn."""
        if control not in self.known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NoisyMachine)  # a first look; what is reported is timed at the end
                ours, theirs = self._measured([self.run.result.architecture, control], SIZING_SECONDS)
            self.known[control] = theirs.measured_ms / ours.measured_ms
        return self.known[control]

    def in_turn(self, names: Iterable[str]) -> tuple[tuple[Timed, ...], Card]:
        """All networks in one sitting."""
        names = list(names)
        networks = [network_of(name, self.run.space) for name in names]
        measured = self._measured(networks, self.seconds)
        card = measured[0].card
        timed = (Timed(name, one.measured_ms, one.timing.spread_ms) for name, one in zip(names, measured))
        return tuple(timed), card

    def _measured(self, networks: Sequence[Architecture | Control], seconds: float, rounds: int = 15):
        card, space = self.run.table.card, self.run.space
        modules = [built(network, space, space.classes) for network in networks]
        device = loaded_device(card)
        conditions = card.conditions(runtime=self.runtime, device=device, seconds=seconds, rounds=rounds)
        return measure(modules, conditions, image=space.image)


def network_of(name: str, space: SearchSpace) -> Architecture | Control:
    """Read a network from the text that a row has of it.

    Args:
        name: an architecture or a control, as text.
        space: of the architecture.

    Returns:
        The architecture or the control.

    Raises:
        InputError: it is neither an architecture of the space nor a control.
    """
    family = name.partition("-")[0]
    return Control.parse(name) if family in FAMILIES else space.architecture(name)
