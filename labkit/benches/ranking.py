"""Which cheap method ranks networks like a full training, and what does it cost?

Networks are trained in full, half of them within a narrow band of latency, and compared with the order of cheaper
methods. A deadline chooses inside such a band: everything in it takes as long, and a method that only separates slow
networks from fast ones says nothing there. So agreement is reported over all networks and within the band.

Shapes: A networks, in the order in which `drawn` returns them.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from labkit import data as image_sets
from labkit import spaces
from labkit.benches import record
from labkit.benches.proxies import naswot, synflow
from labkit.benches.record import Bench, option
from labkit.benches.supernet import weights_alone
from labkit.blackbox.gaussian_process import GaussianProcess
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.complexity import count
from labkit.networks.parallel import Job, one_thread, train_row
from labkit.networks.supernet import Supernet, derive
from labkit.networks.training import TrainConfig, error, train
from labkit.oneshot.config import WEIGHTS_ON, SearchConfig
from labkit.oneshot.evaluation import shared_errors
from labkit.oneshot.run import SearchRun
from labkit.spaces import Architecture, SearchSpace
from labkit.stats import Agreement, agreement
from labkit.system import storage
from labkit.system.errors import InputError
from labkit.system.interrupts import interrupts_wait

KIND, SCHEMA = "ranking bench", 1
FREE = ("parameters", "macs", "table-ms")  # negated: whatever is larger is expected to err less
PROXIES = ("synflow", "naswot")  # negated too; of untrained networks, on `PROXY_IMAGES` validation images
PROXY_IMAGES = 64
WAYS = (*FREE, *PROXIES, *(f"shared:{sample}" for sample in WEIGHTS_ON[1:]), "short:EPOCHS", "surrogate:NETWORKS")


@dataclass(frozen=True)
class Band:
    """The latencies among which a deadline chooses.

    Attributes:
        deadline_ms: Upper end, in milliseconds by the table.
        share: Lower end, as a share of the deadline.
    """

    deadline_ms: float
    share: float = 0.93

    def __post_init__(self) -> None:
        if not (self.deadline_ms > 0 and 0 < self.share < 1):
            raise InputError(f"a band is below a deadline above 0, from a share of it; got {self}")

    def holds(self, ms: float) -> bool:
        """Return whether a latency lies in the band.

        Args:
            ms: Milliseconds by the table.

        Returns:
            True at both ends too.
        """
        return self.share * self.deadline_ms <= ms <= self.deadline_ms


@dataclass(frozen=True)
class Trained:
    """One network after one training in full.

    Attributes:
        ops: The architecture, as it prints.
        seed: Of the training.
        ms: By the table.
        valid_error, test_error: Fractions.
        cpu_seconds: Of this process; the time of other processes, or of a stopped process, does not count.
    """

    ops: str
    seed: int
    ms: float
    valid_error: float
    test_error: float
    cpu_seconds: float


@dataclass(frozen=True)
class Score:
    """The values of one ranking method for all networks.

    Attributes:
        way: One of `WAYS`.
        seed: Of the method.
        values: (A,) the smaller, the better.
        cpu_seconds: What it cost.
    """

    way: str
    seed: int
    values: tuple[float, ...]
    cpu_seconds: float


def drawn(space: SearchSpace, table: LatencyTable, band: Band, n: int, seed: int = 0) -> tuple[Architecture, ...]:
    """Draw different networks: in turn one uniform in the band, and one uniform in the space.

    Args:
        space: The space.
        table: Of the space.
        band: Of latency.
        n: Networks; a larger number begins with the same ones.
        seed: Of the draw.

    Returns:
        n architectures.

    Raises:
        InputError: 100,000 draws contain too few in the band.
    """
    generator = torch.Generator().manual_seed(seed)
    one = lambda: space.sample(1, generator)[0]
    found: dict[Architecture, None] = {}
    tries = 0
    while len(found) < n:
        wanted = len(found) % 2 == 0  # in the band
        while (a := one()) in found or (wanted and not band.holds(table.table_ms(a))):
            if (tries := tries + 1) == 100_000:
                raise InputError(
                    f"{len(found)} of {n} networks found: too few take {band.share * band.deadline_ms:.3g} to "
                    f"{band.deadline_ms:.3g} ms; set another deadline or a wider band"
                )
        found[a] = None
    return tuple(found)


def train_missing(
    architectures: Sequence[Architecture],
    space: SearchSpace,
    images: ImageSet,
    table: LatencyTable,
    config: TrainConfig,
    log: str | Path,
    *,
    seeds: int = 2,
    on_row: Callable[[Trained], None] = lambda row: None,
) -> tuple[Trained, ...]:
    """Train the networks that the log lacks, on one thread, all with the first seed before any with the next.

    Every training is written when it ends, a line each; a first interrupt waits for the one under way.

    Args:
        architectures: The networks.
        space: Their space.
        images: The images.
        table: Of the space.
        config: Of each training; its seed is not used.
        log: A file of JSON lines, whose first line identifies the space, the images and the training.
        seeds: Trainings of each network.
        on_row: Called with each new row.

    Returns:
        All rows of these networks, in the order of the log.

    Raises:
        InputError: The log is of another ranking, or damaged.
    """
    of = {"space": space.digest, "images": images.digest, "training": asdict(replace(config, seed=0))}
    rows = [storage.as_record(row, Trained, f"{log} is damaged") for row in storage.resume_log(log, of, "ranking")]
    done = {(row.ops, row.seed) for row in rows}
    wanted = [(a, seed) for seed in range(seeds) for a in architectures]
    with interrupts_wait() as asked, one_thread():
        for architecture, seed in wanted:
            if (str(architecture), seed) in done:
                continue
            started = time.process_time()
            found = train_row(Job(architecture, seed), space, images, config)
            spent = round(time.process_time() - started, 2)
            valid, test = (round(1 - found[f"{part}_accuracy"], 6) for part in ("valid", "test"))
            ms = round(table.table_ms(architecture), 6)
            rows.append(Trained(str(architecture), seed, ms, valid, test, spent))
            storage.append_line(log, asdict(rows[-1]))
            on_row(rows[-1])
            if asked():
                raise KeyboardInterrupt
    names = set(map(str, architectures))
    return tuple(row for row in rows if row.ops in names and row.seed < seeds)


def score(
    way: str,
    seed: int,
    architectures: Sequence[Architecture],
    space: SearchSpace,
    images: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    training: TrainConfig,
    trained: Sequence[Trained] = (),
) -> Score:
    """Give every network a value by one ranking method.

    Args:
        way: One of `WAYS`.
        seed: Of the method.
        architectures: (A,) the networks.
        space: Their space.
        images: The images.
        table: Of the space.
        config: Of shared weights.
        training: In full; a short one differs in its epochs.
        trained: Networks trained in full. A surrogate sees the validation errors of some, and is charged with their
            training.

    Returns:
        A value each, the smaller the better, and what they cost.

    Raises:
        InputError: An unknown method, or too few trained networks for a surrogate.
    """
    started, charged = time.process_time(), 0.0
    name, _, how = way.partition(":")
    if way == "table-ms":
        values = [-table.table_ms(a) for a in architectures]
    elif way in FREE:
        counts = [count(derive(space, a), space.image) for a in architectures]
        values = [-float(getattr(one, way)) for one in counts]
    elif way in PROXIES:
        made = (derive(space, a, seed=seed) for a in architectures)
        (batch, _) = next(images.valid.batches(PROXY_IMAGES))
        proxy = (lambda network: synflow(network, space.image)) if way == "synflow" else partial(naswot, images=batch)
        values = [-max(proxy(network), -1e9) for network in made]  # -inf is no number of a file
    elif name == "shared":
        supernet = Supernet(space, seed=seed)
        own = weights_alone(config, how, seed, supernet)
        run = SearchRun(supernet, images, own).advance()
        run.bar.close()
        values = list(shared_errors(run.learnt, architectures, images, own))
    elif name == "short" and how.isdecimal() and int(how):
        values = list(_short(architectures, space, images, replace(training, epochs=int(how), seed=seed)))
    elif name == "surrogate" and how.isdecimal() and int(how) > 1:
        of_seed = {row.ops: row for row in trained if row.seed == 0}
        values = list(_predicted(architectures, space, {n: r.valid_error for n, r in of_seed.items()}, int(how), seed))
        charged = int(how) * fmean(row.cpu_seconds for row in of_seed.values())
    else:
        raise InputError(f"networks are ranked by {', '.join(WAYS)}; got {way!r}")
    return Score(way, seed, tuple(round(x, 6) for x in values), round(charged + time.process_time() - started, 2))


def _predicted(
    architectures: Sequence[Architecture], space: SearchSpace, errors: Mapping[str, float], n: int, seed: int
) -> Iterator[float]:
    """Each network's error by a Gaussian process fitted to `n` others, drawn for each."""
    encode = lambda several: np.stack([space.encode(a).argmax(-1).numpy() for a in several])
    order = np.random.default_rng(seed)
    for architecture in architectures:
        others = [a for a in architectures if a != architecture and str(a) in errors]
        if len(others) < n:
            raise InputError(f"a surrogate of {n} networks needs as many others that are trained; got {len(others)}")
        seen = [others[i] for i in order.permutation(len(others))[:n]]
        process = GaussianProcess.fit(encode(seen), np.array([errors[str(a)] for a in seen]))
        yield float(process.predict(encode([architecture]))[0][0])


def _short(
    architectures: Iterable[Architecture], space: SearchSpace, images: ImageSet, config: TrainConfig
) -> Iterator[float]:
    """Validation errors after short trainings, each a whole cycle of the learning rate."""
    for architecture in architectures:
        network = derive(space, architecture, seed=config.seed)
        train(network, images, config, validate="at the end")
        yield error(network, images.valid)


def agreements(
    scores: Sequence[float], true_errors: Mapping[str, float], architectures: Sequence[Architecture], inside: set[str]
) -> dict[str, Agreement | None]:
    """Return Kendall's tau with the errors of trained networks, over "all" and within the "band".

    Args:
        scores: (A,) values of a method.
        true_errors: Error of each trained network, by the architecture as it prints.
        architectures: (A,) the networks.
        inside: Networks in the band, as they print.

    Returns:
        An agreement each; None where fewer than 3 networks are trained.
    """
    pairs = [(str(a), score) for a, score in zip(architectures, scores) if str(a) in true_errors]
    taus: dict[str, Agreement | None] = {}
    for which, kept in (("all", pairs), ("band", [pair for pair in pairs if pair[0] in inside])):
        enough = len(kept) >= 3
        taus[which] = agreement([s for _, s in kept], [true_errors[name] for name, _ in kept]) if enough else None
    return taus


@dataclass(frozen=True)
class RankingBench(Bench[Score]):
    """Cheap methods that rank networks, compared with full trainings, over a space and within a band of latency."""

    kind, schema, row, resumes = KIND, SCHEMA, Score, True
    trained: str = option("", "file of JSON lines that keeps every training; a later run resumes from it")
    ways: tuple[str, ...] = option(FREE, f"methods: {', '.join(WAYS)}")
    space: str = option("mobile-tiny", "a name, or MODULE:FUNCTION of your own")
    data: str = option("glyphs-hard", "a name, folder:PATH, or MODULE:FUNCTION of your own")
    limit: int | None = option(None, "of a folder, at most so many images a class and part")
    table: str = option("cpu-amd-epyc-2-cores/mobile-tiny-onnxruntime-b1", "latency table: a file or a shipped name")
    deadline_ms: float = option(0.18, "the upper end of the band")
    share: float = option(0.93, "where the band begins, of the deadline")
    networks: int = option(60, "trained in full, every other one in the band")
    seeds: int = option(2, "trainings of each network, and runs of each method that has a seed")
    epochs: int = option(10, "of a training in full")
    most: int | None = option(None, "trainings at most in this run")

    def __post_init__(self) -> None:
        if not self.trained:
            raise InputError("a ranking bench needs --trained, the file that keeps what was trained")
        if self.networks < 6 or self.seeds < 1:
            raise InputError(f"a ranking needs 6 networks and a seed; got {self.networks} and {self.seeds}")
        self.band  # noqa: B018 (checks it)

    @property
    def band(self) -> Band:
        """Where the deadline chooses."""
        return Band(self.deadline_ms, self.share)

    @cached_property
    def images(self) -> ImageSet:
        """The images that all learn from."""
        limited: dict[str, Any] = {} if self.limit is None else {"limit": self.limit}
        return image_sets.by_name(self.data, **limited)

    @cached_property
    def made(self) -> tuple[SearchSpace, LatencyTable, tuple[Architecture, ...]]:
        """The space, its table, and the networks."""
        space, table = spaces.by_name(self.space, len(self.images.classes)), LatencyTable.load(self.table)
        table.check(space)
        return space, table, drawn(space, table, self.band, self.networks)

    @property
    def training(self) -> TrainConfig:
        """The recipe of a training in full."""
        return TrainConfig(epochs=self.epochs)

    def request(self) -> dict[str, Any]:
        return {
            "space": self.space, "images": self.images.digest, "table": self.table, "band": asdict(self.band),
            "networks": self.networks, "training": asdict(self.training),
        }  # fmt: skip

    def about(self) -> dict[str, Any]:
        return {"data": self.images.card()}

    def run(self, done: Sequence[Score], on_row: Callable[[Score], None]) -> Sequence[Score]:
        space, table, architectures = self.made
        left = itertools.count(1)

        def print_row(row: Trained) -> None:
            n = next(left)
            text = f"{row.ops} seed {row.seed}: {100 * row.test_error:.1f} %, {row.cpu_seconds:.0f} CPU s"
            print(text, file=sys.stderr, flush=True)
            if n == self.most:
                raise KeyboardInterrupt

        trained = train_missing(
            architectures, space, self.images, table, self.training, self.trained, seeds=self.seeds, on_row=print_row
        )
        kept = {(score.way, score.seed): score for score in done}
        scores = []
        for way, seed in itertools.product(self.ways, range(self.seeds)):
            if way in FREE and seed:
                continue
            if (way, seed) not in kept:
                config = SearchConfig.preset(space.name)
                of = score(way, seed, architectures, space, self.images, table, config, self.training, trained)
                kept[way, seed] = of
                on_row(of)
            scores.append(kept[way, seed])
        return scores

    def text(self, rows: Sequence[Score]) -> str:
        _, table, architectures = self.made
        trained = [storage.as_record(row, Trained, self.trained) for row in storage.read_lines(self.trained)[1:]]
        return to_text(rows, trained, architectures, table, self.band)


def to_text(
    scores: Iterable[Score],
    trained: Sequence[Trained],
    architectures: Sequence[Architecture],
    table: LatencyTable,
    band: Band,
) -> str:
    """Describe the agreement of each method with the mean error of the trainings, and of one training with the others.

    Args:
        scores: The scores.
        trained: All trainings.
        architectures: (A,) the networks.
        table: Of their space.
        band: Of latency.

    Returns:
        Lines of text.
    """
    inside = {str(a) for a in architectures if band.holds(table.table_ms(a))}
    by_seed: dict[int, dict[str, float]] = {}
    for row in trained:
        by_seed.setdefault(row.seed, {})[row.ops] = row.test_error
    names = set().union(*by_seed.values())
    true_errors = {name: fmean(of[name] for of in by_seed.values() if name in of) for name in names}
    lines = [f"{len(true_errors)} networks trained, {len(inside & names)} of them in the band", _HEAD]
    for seed, errors in sorted(by_seed.items()):
        others = [of for other, of in by_seed.items() if other != seed]
        rest = {n: fmean(of[n] for of in others if n in of) for n in errors if any(n in of for of in others)}
        values = [errors.get(str(a), 0.0) for a in architectures]
        if rest:
            spent = sum(row.cpu_seconds for row in trained if row.seed == seed)
            lines.append(_line("one training, by the others", seed, spent, values, rest, architectures, inside))
    scores = tuple(scores)
    for score in scores:
        lines.append(_line(score.way, score.seed, score.cpu_seconds, score.values, true_errors, architectures, inside))
    for way in dict.fromkeys(score.way for score in scores):
        several = [score for score in scores if score.way == way]
        if len(several) > 1:  # what several cheap ones say together
            values = np.mean([score.values for score in several], 0).tolist()
            spent = sum(score.cpu_seconds for score in several)
            lines.append(_line(f"{way}, mean of seeds", "", spent, values, true_errors, architectures, inside))
    return "\n".join(lines)


_HEAD = f"{'method':32} seed {'CPU s':>8}   {'tau, all':24} tau, within the band"


def _line(way, seed, seconds, values, true_errors, architectures, inside) -> str:
    taus = agreements(values, true_errors, architectures, inside)
    everywhere, band = (str(taus[which] or "-") for which in ("all", "band"))
    return f"{way:32} {seed:4} {seconds:8.0f}   {everywhere:24} {band}"


load = record.loader(RankingBench, "ranking")
"""Read the rows of a saved bench: a file, or the name of a shipped result."""
