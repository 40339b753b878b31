"""How well do shared weights rank? Supernets are trained and evaluated, and compared with the tabular benchmark.

Shapes: A architectures in the order in which the space is iterated.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import torch

from labkit import data
from labkit.benches import record
from labkit.benches.record import FAST, TabularBench, option
from labkit.benches.tabular.report import top_quarter
from labkit.benches.tabular.table import TabularBenchmark
from labkit.data import ImageSet
from labkit.networks.supernet import Supernet
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import shared_errors
from labkit.oneshot.run import SearchRun
from labkit.oneshot.searching import learning_passes
from labkit.stats import Agreement, agreement
from labkit.system.errors import InputError

SAMPLES = ("one-hot", "relaxed")
STATISTICS = ("running", "re-estimated")
KIND, SCHEMA = "supernet bench", 1


@dataclass(frozen=True)
class Scan:
    """The validation error of every architecture on one set of shared weights.

    Attributes:
        sample: What the weights were trained on, see `SearchConfig.learns_on`.
        statistics: Of batch norm during evaluation, see `evaluation.shared_errors`.
        seed: Of the training.
        errors: A fractions.
        weights: "last", or "averaged" over the last steps.
        passes: Image passes of the training; None where they were not recorded.
    """

    sample: str
    statistics: str
    seed: int
    errors: tuple[float, ...]
    weights: str = "last"
    passes: float | None = None

    def agreement(self, known: TabularBenchmark, *, top: bool = False) -> Agreement:
        """Return Kendall's tau between this order and that of the tabular benchmark.

        Args:
            known: The tabular benchmark.
            top: Of its best quarter alone.

        Returns:
            Tau with its interval.

        Raises:
            InputError: The benchmark has another number of architectures.
        """
        if len(self.errors) != known.space.size:
            raise InputError(
                f"the scan has {len(self.errors)} errors, the tabular benchmark {known.space.size} architectures"
            )
        rows = top_quarter(known) if top else slice(None)
        return agreement(torch.tensor(self.errors)[rows].tolist(), known.error[rows].tolist())

    def regret(self, known: TabularBenchmark) -> float:
        """Return how much more the best of the scan errs than the best there is, as a fraction.

        Args:
            known: The tabular benchmark.

        Returns:
            A difference of test errors, 0 or more.
        """
        return (known.error[int(torch.tensor(self.errors).argmin())] - known.error.min()).item()


def measure(
    known: TabularBenchmark,
    data: ImageSet,
    config: SearchConfig,
    *,
    seeds: int = 3,
    samples: Sequence[str] = SAMPLES,
    statistics: Sequence[str] = STATISTICS,
    equal_cost: bool = False,
    done: Iterable[Scan] = (),
    on_scan: Callable[[Scan], None] | None = None,
) -> tuple[Scan, ...]:
    """Train a supernet for each seed and way, and evaluate the whole space on it with each kind of statistics.

    Args:
        known: The tabular benchmark.
        data: The images that it was made of.
        config: Mixture steps, then weight and joint steps on samples, as many as a search has. Where it averages
            weights, both the averaged and the last ones are evaluated.
        seeds: Supernets of each way.
        samples: Ways to train, see `SearchConfig.learns_on`; "relaxed*3" for three times as many steps on samples.
        statistics: Of batch norm during evaluation.
        equal_cost: Give each way as many steps on samples as cost what those on relaxed ones do.
        done: Scans of an earlier run, which are kept.
        on_scan: Called with each new scan.

    Returns:
        All scans.

    Raises:
        InputError: An argument is not what is described here, or the images are others.
    """
    if seeds < 1 or not samples or not statistics:
        raise InputError(f"a supernet bench needs a seed, a way to train and one to evaluate; got {seeds}")
    if data.digest != known.recipe["data"]["digest"]:
        raise InputError(f"the tabular benchmark was made on {known.recipe['data']['name']}: hand over the same images")
    if wrong := sorted(set(statistics) - set(STATISTICS)):
        raise InputError(f"batch-norm statistics are {' and '.join(STATISTICS)}; got {wrong[0]!r}")
    for sample in samples:  # what is no way to train is refused before anything is trained
        weights_alone(config, sample, 0, Supernet(known.space), equal_cost)
    kept = {(scan.seed, scan.sample, scan.weights, scan.statistics): scan for scan in done}
    both = ("last", "averaged") if config.weight_average else ("last",)
    scans = []
    for seed, sample in itertools.product(range(seeds), samples):
        asked = [(seed, sample, weights, how) for weights, how in itertools.product(both, statistics)]
        if all(key in kept for key in asked):
            scans += [kept[key] for key in asked]
            continue
        supernet = Supernet(known.space, seed=seed)
        run = SearchRun(supernet, data, weights_alone(config, sample, seed, supernet, equal_cost)).advance()
        run.bar.close()
        for _, _, weights, how in asked:
            trained = run.learnt if weights == "averaged" else run.supernet
            errors = shared_errors(trained, known.space, data, config, statistics=how)
            rounded = tuple(round(error, 6) for error in errors)
            scans.append(Scan(sample, how, seed, rounded, weights, round(run.passes)))
            if on_scan is not None:
                on_scan(scans[-1])
    return tuple(scans)


def weights_alone(
    config: SearchConfig, sample: str, seed: int, supernet: Supernet, equal_cost: bool = False
) -> SearchConfig:
    """Return the config of a way to train, with weight steps only after the mixture.

    Args:
        config: Of a search.
        sample: Such as "relaxed", or "relaxed*3" for three times as many steps.
        seed: Of the training.
        supernet: Of the space.
        equal_cost: As many steps as cost what those on relaxed samples do.

    Returns:
        A config without joint steps.

    Raises:
        InputError: `sample` is no way to train.
    """
    name, _, times = sample.partition("*")
    if times and not times.isdecimal():
        raise InputError(f"a way to train is a name, or a name times whole steps such as relaxed*3; got {sample!r}")
    own = replace(config, weights_on=name, seed=seed)
    steps = (config.weight_steps + config.joint_steps) * int(times or 1)
    if equal_cost:
        ratio = learning_passes(supernet, replace(own, weights_on="relaxed")) / learning_passes(supernet, own)
        steps = round(steps * ratio)
    return replace(own, weight_steps=steps, joint_steps=0)


def to_text(known: TabularBenchmark, scans: Iterable[Scan]) -> str:
    """Describe the agreement with the tabular benchmark, a line a scan, and the means of the seeds.

    Args:
        known: The tabular benchmark.
        scans: Of its space.

    Returns:
        Lines of text.
    """
    scans = tuple(scans)
    head = f"{'weights trained on':20} {'weights':9} {'batch norm':13} seed   {f'tau, all {known.space.size}':22}"
    lines = [f"{head} tau, top quarter"]
    for scan in scans:
        everywhere, top = str(scan.agreement(known)), str(scan.agreement(known, top=True))
        lines.append(f"{scan.sample:20} {scan.weights:9} {scan.statistics:13} {scan.seed:4}   {everywhere:22} {top}")
    return "\n".join(lines + _means(known, scans))


def _means(known: TabularBenchmark, scans: Iterable[Scan]) -> list[str]:
    """Of the seeds, a line a way that has several."""
    ways: dict[tuple[str, str, str], list[Scan]] = {}
    for scan in scans:
        ways.setdefault((scan.sample, scan.weights, scan.statistics), []).append(scan)
    lines = []
    for (sample, weights, how), several in ways.items():
        if len(several) > 1:
            everywhere, top = (fmean(s.agreement(known, top=t).tau for s in several) for t in (False, True))
            regret = fmean(s.regret(known) for s in several)
            passes = [s.passes for s in several if s.passes is not None]
            cost = f", {fmean(passes):,.0f} image passes" if passes else ""
            lines.append(
                f"{sample:20} {weights:9} {how:13} mean   {everywhere:<22.3f} {top:.3f}; its best is "
                f"{100 * regret:.2f} points above the least error{cost}"
            )
    return lines


@dataclass(frozen=True)
class SupernetBench(TabularBench[Scan]):
    """The ranking of shared weights, compared with the tabular benchmark."""

    kind, schema, row, resumes = KIND, SCHEMA, Scan, True
    seeds: int = option(3, "supernets of each way to train")
    samples: tuple[str, ...] = option(SAMPLES, "what weights train on: also fair, distilled, relaxed*3")
    statistics: tuple[str, ...] = option(STATISTICS, "of batch norm while evaluating")
    average: float = option(0.0, "share of the steps, the last, whose mean is evaluated too")
    equal_cost: bool = option(False, "as many steps as cost what relaxed ones do")
    fast: bool = option(False, FAST)

    @property
    def config(self) -> SearchConfig:
        """The recipe of every supernet."""
        config = SearchConfig.fast() if self.fast else SearchConfig()
        return replace(config, weight_average=self.average, latency_weight=0.0)

    def request(self) -> dict[str, Any]:
        return {"config": asdict(self.config), "statistics": self.statistics, "equal_cost": self.equal_cost}

    def run(self, done: Sequence[Scan], on_row: Callable[[Scan], None]) -> Sequence[Scan]:
        images = data.by_name(self.known.recipe["data"]["name"])
        how: dict[str, Any] = {name: getattr(self, name) for name in ("seeds", "samples", "statistics", "equal_cost")}
        return measure(self.known, images, self.config, done=done, on_scan=on_row, **how)

    def about(self) -> dict[str, Any]:
        return {"data": self.known.recipe["data"]}

    def line(self, row: Scan) -> str:
        return to_text(self.known, [row]).splitlines()[1]

    def text(self, rows: Sequence[Scan]) -> str:
        return to_text(self.known, rows)


load = record.loader(SupernetBench, "supernet")
"""Read the rows of a saved bench: a file, or the name of a shipped result."""
