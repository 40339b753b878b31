"""How well do shared weights rank? Supernets trained in two ways and judged in two, held against the truth table.

In shapes: A architectures in the order in which the space is iterated.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from labkit import storage
from labkit.data import ImageSet
from labkit.errors import InputError
from labkit.judging import shared_errors
from labkit.networks import Supernet
from labkit.ranking import Agreement, agreement
from labkit.search_config import SearchConfig
from labkit.searching import train_shared
from labkit.truth import Truth
from labkit.truth_report import top_quarter

SAMPLES = ("one-hot", "relaxed")
STATISTICS = ("running", "re-estimated")
KIND, SCHEMA = "supernet bench", 1


@dataclass(frozen=True)
class Scan:
    """Every architecture's validation error on one set of shared weights."""

    sample: str  # what the weights were trained on, see searching.train_shared
    statistics: str  # of batch norm while judging, see judging.shared_errors
    seed: int
    errors: tuple[float, ...]  # A

    def agreement(self, known: Truth, *, top: bool = False) -> Agreement:
        """Kendall's tau between this order and the true one, of all or inside the truth's top quarter."""
        if len(self.errors) != known.space.size:
            raise InputError(f"the scan has {len(self.errors)} errors, the truth {known.space.size} architectures")
        rows = top_quarter(known) if top else slice(None)
        return agreement(torch.tensor(self.errors)[rows].tolist(), known.error[rows].tolist())


def measure(
    known: Truth,
    data: ImageSet,
    config: SearchConfig,
    *,
    seeds: int = 3,
    on_scan: Callable[[Scan], None] | None = None,
) -> tuple[Scan, ...]:
    """Train a supernet a seed and way, and scan the whole space on it with both kinds of statistics.

    Args:
        data: the images that the truth was made of.
        config: mixture steps, then weight and joint steps on samples: as many as a search has.
    """
    if seeds < 1:
        raise InputError(f"a supernet bench needs a seed; got {seeds}")
    if data.digest != known.recipe["data"]["digest"]:
        raise InputError(f"the truth was made on {known.recipe['data']['name']}: hand over the same images")
    scans = []
    for seed, sample in itertools.product(range(seeds), SAMPLES):
        supernet = train_shared(Supernet(known.space, seed=seed), data, replace(config, seed=seed), sample=sample)
        for statistics in STATISTICS:
            errors = shared_errors(supernet, known.space, data, config, statistics=statistics)
            scans.append(Scan(sample, statistics, seed, tuple(round(error, 6) for error in errors)))
            if on_scan is not None:
                on_scan(scans[-1])
    return tuple(scans)


def to_text(known: Truth, scans: Iterable[Scan]) -> str:
    """Agreement with the truth, a line a scan."""
    lines = [f"{'weights trained on':20} {'batch norm':15} seed   {f'tau, all {known.space.size}':22} tau, top quarter"]
    for scan in scans:
        everywhere, top = str(scan.agreement(known)), str(scan.agreement(known, top=True))
        lines.append(f"{scan.sample:20} {scan.statistics:15} {scan.seed:4}   {everywhere:22} {top}")
    return "\n".join(lines)


def to_json(scans: Iterable[Scan]) -> list[dict[str, Any]]:
    return [asdict(scan) for scan in scans]


def load(source: str | Path = "supernet") -> tuple[Scan, ...]:
    """The scans of a bench that was saved: a file, or the name of a shipped one."""
    path = storage.result_file(source)
    value = storage.read_json(path, KIND, SCHEMA)
    try:
        return tuple(Scan(**{**row, "errors": tuple(row["errors"])}) for row in value["rows"])
    except (KeyError, TypeError) as problem:
        raise InputError(f"{path} is a damaged supernet bench: {type(problem).__name__} {problem}") from None
