"""A search as one page that anyone can open: what was chosen, what was measured, and claims that can be checked again.

The page is self-contained: pictures inside, no script, no address. Its claims are in it as JSON; `verify` reads them
back, does the work again, and says of each whether it was reproduced, has drifted, or was not checked and why. A page
that was edited by hand has drifted too; against a forger who reckons it all anew nothing helps but doing the work.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch

import labkit.data
from labkit import plots, spaces
from labkit.deploy import closed_loop
from labkit.runs import run as runs
from labkit.system import storage
from labkit.oneshot.baselines import random_search
from labkit.estimators.gradient_estimators import ESTIMATORS
from labkit.latency.cards import Card
from labkit.system.device import device_name
from labkit.networks.complexity import count
from labkit.data import ImageSet, Recipe
from labkit.system.errors import InputError, unknown
from labkit.deploy.export import RuntimeRow
from labkit.oneshot.evaluation import evaluate
from labkit.latency.table import LatencyTable, shipped_tables
from labkit.latency.measuring import card_of, measure
from labkit.networks.supernet import Supernet, derive, weights_hash
from labkit.pareto import JUDGED
from labkit.system.device import ieee_float32
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.searching import planned_passes, search
from labkit.oneshot.selection import select
from labkit.system.device import threads
from labkit.networks.training import TrainConfig, error, train

KIND, SCHEMA = "labkit report", 2
OUTCOMES = ("reproduced", "drifted", "not checked")
SEARCH_PASSES, TRAIN_IMAGES = 300_000, 100_000  # what is done again unless everything is asked for: about a minute each
LATENCY_WITHIN = 0.10  # of the recorded milliseconds
MOST_SPREAD = 0.5  # of them, that a recorded spread counts for
MUST = ("images", "space", "complexity", "table", "search")  # claims that every report makes
REPEATED = {"search": search, "random search": random_search}  # methods that a run holds all ingredients of


@dataclass(frozen=True)
class Claim:
    """One thing that a report says, and what it takes to check it."""

    name: str  # which check, a key of CHECKS
    says: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What checking a claim came to."""

    claim: Claim
    outcome: str  # one of OUTCOMES
    found: str

    def __str__(self) -> str:
        return f"{self.outcome:12} {self.claim.says}: {self.found}"


def write(folder: str | Path, path: str | Path, *, download: bool = False) -> Path:
    """Write the report of the run in `folder` to `path`, an HTML file."""
    run = runs.load(folder)
    images = run.image_set(download=download)
    return storage.write_text(path, _page(run, images, claims(run)))


def claims(run: runs.Run) -> tuple[Claim, ...]:
    """What the run says that can be checked: from the cheapest to the dearest."""
    point, config, space = run.result.point, run.result.config, run.space
    architecture = point.architecture
    data = {"made_by": run.data["made_by"], "digest": run.data["digest"], "images": run.data["name"]}
    about = {"space": spaces.record(space), "ops": list(architecture.ops)}
    counted = asdict(count(derive(space, architecture), space.image))
    made = [
        _claim("images", data),
        _claim("space", about),
        _claim("complexity", {**about, **counted}),
        _claim("table", {**about, "table": run.table.to_json(), "ms": point.latency_ms}),
        _claim(
            "search",
            {
                **about,
                **data,
                "method": run.result.method,
                "besides": list(run.result.besides),
                "device": run.device,
                "table": run.table.to_json(),
                "config": asdict(config),
                "error": point.error,
                "judged": JUDGED[point.error_from],
                "first_weights": run.result.first_weights,
                "selection": run.result.selection and asdict(run.result.selection),
                "threads": run.threads,
            },
        ),
    ]
    trained, exported = _recorded(run, "trained.json", "trained network"), _recorded(run, "export.json", "export")
    if trained is not None:
        training = {"config": trained["config"], "accuracy": trained["test_accuracy"], "tested": run.data["test"]}
        made.append(_claim("accuracy", {**about, **data, **training}))
    for row in (exported or {}).get("runtimes", ()):
        if row["card"] is not None and row["precision"] == "fp32":
            ms, spread = row[f"{Card.from_json(row['card']).statistic}_ms"], row["spread_ms"]
            made.append(_claim("latency", {**about, "card": row["card"], "ms": ms, "spread_ms": spread}))
    return tuple(made)


SAYS: dict[str, Callable[[dict[str, Any]], str]] = {  # the sentence of a claim, from nothing but its value
    "images": lambda v: f"the images are {v['images']} ({v['digest']})",
    "space": lambda v: f"{v['space']['name']} is {v['space']['digest']}, and holds the architecture",
    "complexity": lambda v: f"{v['parameters']:,} parameters, {v['macs']:,} multiply-accumulates",
    "table": lambda v: f"{v['ms']:.4f} ms by the table",
    "search": lambda v: (
        f"the {v['method']} (seed {v['config']['seed']}) chose it, at {v['error']:.1%} error {v['judged']}"
    ),
    "accuracy": lambda v: f"trained from scratch it is right on {v['accuracy']:.2%} of {v['tested']:,} test images",
    "latency": lambda v: f"{v['ms']:.3g} ms in {v['card']['runtime']} ({Card.from_json(v['card']).recorded()})",
    "page": lambda v: f"the page reads as it was written ({v['digest']})",
}


def _claim(name: str, value: dict[str, Any]) -> Claim:
    return Claim(name, SAYS[name](value), value)


def read(path: str | Path) -> tuple[Claim, ...]:
    """The claims in a report, and last that its visible text is as it was written."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise InputError(f"no report can be read at {path} ({problem})") from None
    page = _Page(text)
    try:
        value = json.loads(page.claims)
        if (value["kind"], value["schema"]) != (KIND, SCHEMA):
            raise InputError(
                f"{path} is a {value['kind']} of schema {value['schema']}; this labkit reads {KIND} {SCHEMA}"
            )
        claims = tuple(Claim(**claim) for claim in value["claims"])
        missing = [name for name in MUST if name not in {claim.name for claim in claims}]
        if missing:
            raise InputError(f"{path} makes no claim of {', '.join(missing)}: it is not whole, write it anew")
        return *claims, _claim("page", {"digest": value["page"], "found": page.digest})
    except InputError:
        raise
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a report that labkit wrote, or its claims were damaged") from None


def verify(made: Iterable[Claim], *, full: bool = False, download: bool = False) -> Iterator[Verdict]:
    """Check each claim again, here and now; long work only when `full`."""
    for claim in made:
        if claim.name not in CHECKS:
            yield Verdict(claim, "not checked", "this version knows no such claim")
            continue
        try:
            if claim.says != SAYS[claim.name](claim.value):
                outcome, found = "drifted", f"its value says: {SAYS[claim.name](claim.value)}"
            else:
                outcome, found = CHECKS[claim.name](claim.value, full, download)
        except InputError as problem:
            outcome, found = "not checked", str(problem)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:  # reports come from strangers
            outcome, found = "not checked", f"damaged claim: {type(problem).__name__} {problem}"
        yield Verdict(claim, outcome, found)


# --- checks: (value, full, download) -> outcome, what was found -----------------------------------------------


def _check_images(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    return _same(_images(value, download).digest, value["digest"])


def _check_space(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    space = spaces.of_record(value["space"], imports=False, same=False)
    space.architecture(value["ops"])
    return _same(space.digest, value["space"]["digest"])


def _check_complexity(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    space, architecture = _architecture(value)
    found = asdict(count(derive(space, architecture), space.image))
    wrong = [f"{name.replace('_', ' ')} {n:,}, not {value[name]:,}" for name, n in found.items() if n != value[name]]
    return ("drifted", "; ".join(wrong)) if wrong else ("reproduced", "counted again")


def _check_table(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    space, architecture = _architecture(value)
    table = LatencyTable.from_json(value["table"])
    table.check(space)
    found = table.table_ms(architecture)
    shipped = [t for t in map(LatencyTable.load, shipped_tables()) if (t.space, t.card) == (table.space, table.card)]
    if shipped and table not in shipped:
        there = shipped[0].table_ms(architecture)
        return "drifted", f"the table that ships with this card has other entries: {there:.4f} ms"
    near = math.isclose(found, value["ms"], rel_tol=1e-9)
    return ("reproduced" if near else "drifted"), f"its entries add up to {found:.4f} ms"


def _check_search(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    if value["method"] not in REPEATED:
        return "not checked", f"{' and '.join(REPEATED)} can be repeated from a report; this is of {value['method']}"
    if besides := value.get("besides"):
        return "not checked", f"it also followed {' and '.join(besides)}, which the report does not hold"
    if (device := value.get("device", "cpu")) != "cpu":
        return "not checked", f"its weights were trained on {device}, which rounds otherwise than the CPU here"
    space, architecture = _architecture(value)
    if value["config"]["estimator"] not in ESTIMATORS:
        raise unknown("estimators are", value["config"]["estimator"], ESTIMATORS)
    config, supernet = SearchConfig(**value["config"]), Supernet(space, value["config"]["seed"])
    if weights_hash(supernet) != value["first_weights"]:
        return "not checked", "it began from weights that are not those of its seed"
    passes = planned_passes(supernet, config)
    if passes > SEARCH_PASSES and not full:
        return "not checked", f"it took {passes:,.0f} image passes; --full does them again"
    images, table = _images(value, download), LatencyTable.from_json(value["table"])
    with threads(value["threads"]):
        found = REPEATED[value["method"]](supernet, images, table, config)
        if value["selection"]:
            (found,) = select([found], images, table, SelectionConfig.from_json(value["selection"]))
        point = found.point
    if point.architecture != architecture:
        return "drifted", f"it chooses {point.architecture} here, at {point.error:.1%}"
    near = math.isclose(point.error, value["error"], abs_tol=1e-9)
    return ("reproduced" if near else "drifted"), f"the same architecture at {point.error:.1%}"


def _check_accuracy(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    space, architecture = _architecture(value)
    config, images = TrainConfig(**value["config"]), _images(value, download)
    work = config.epochs * len(images.train)
    if work > TRAIN_IMAGES and not full:
        return "not checked", f"it took {work:,} training images; --full trains it again"
    network = derive(space, architecture, seed=config.seed)
    train(network, images, config, validate="at the end")
    accuracy = 1 - error(network, images.test)
    noise = math.sqrt(2 * accuracy * (1 - accuracy) / len(images.test))  # of what was counted here
    near = abs(accuracy - value["accuracy"]) <= 3 * noise
    return ("reproduced" if near else "drifted"), f"{accuracy:.2%} here; three standard errors are {3 * noise:.2%}"


@ieee_float32()  # as the export measured it
def _check_latency(value: dict[str, Any], full: bool, download: bool) -> tuple[str, str]:
    space, architecture = _architecture(value)
    card = Card.from_json(value["card"])
    device = "cuda" if torch.cuda.is_available() and device_name("cuda") == card.device else "cpu"
    how = {"runtime": card.runtime, "batch_size": card.batch_size, "dtype": card.dtype, "device": device}
    with threads(card.threads):
        here = card_of(card.runtime, card.batch_size, card.input_shape, device, dtype=card.dtype)
        if unlike := here.differences(card):
            return "not checked", f"this is another measurement: {', '.join(unlike)} differ"
        (found,) = measure([derive(space, architecture)], space.image, **how)
    spread = min(value["spread_ms"], MOST_SPREAD * value["ms"])  # else a report could allow itself anything
    within = max(LATENCY_WITHIN * value["ms"], spread, found.timing.spread_ms)
    near = abs(found.measured_ms - value["ms"]) <= within
    return ("reproduced" if near else "drifted"), f"{found.timing.text(card.statistic)} here"


CHECKS: dict[str, Callable[[dict[str, Any], bool, bool], tuple[str, str]]] = {
    "images": _check_images,
    "space": _check_space,
    "complexity": _check_complexity,
    "table": _check_table,
    "search": _check_search,
    "accuracy": _check_accuracy,
    "latency": _check_latency,
    "page": lambda value, full, download: _same(value["found"], value["digest"]),
}


def _same(found: str, wanted: str) -> tuple[str, str]:
    return ("reproduced" if found == wanted else "drifted"), f"here {found}"


def _images(value: dict[str, Any], download: bool) -> ImageSet:
    by = value["made_by"]
    if by is None:
        raise InputError("no registered function made these images: they cannot be made again")
    recipe = Recipe(**by)
    if recipe.name not in labkit.data.SETS:  # a report may be a stranger's: nothing is imported for it
        raise unknown("image sets are", recipe.name, labkit.data.SETS)
    return labkit.data.made_again(replace(recipe, parts=()), download=download)


def _architecture(value: dict[str, Any]) -> tuple[spaces.SearchSpace, spaces.Architecture]:
    space = spaces.of_record(value["space"], imports=False)  # a report may be a stranger's
    return space, space.architecture(value["ops"])


# --- the page -----------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid light-dark(#ccc, #444) }
figure { margin: 1rem 0; background: #fff; max-width: max-content }
code { overflow-wrap: anywhere }
"""


def _page(run: runs.Run, images: ImageSet, made: tuple[Claim, ...]) -> str:
    result, table = run.result, run.table
    chosen = str(result.architecture)
    steps = f"{len(result.history)} steps, {result.passes:,.0f} image passes, {result.seconds:.0f} s"
    facts = {
        "searched in": f"{run.space.name} ({run.space.size:,} architectures), with {result.config.estimator}",
        "images": f"{run.data['name']}: {run.data['train']:,} to learn from, {run.data['valid']:,} to choose by, "
        f"{run.data['test']:,} to test",
        "seed": str(result.config.seed),
        "cost": steps,
        "random search at equal cost": "not part of a run; labkit study draws it beside the search",
        "latencies of the search": str(table.card),
        "made with": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "date": run.date,
    }
    parts = [
        f"<h1>{escape(run.space.name)}: the network that was chosen</h1>",
        f"<p><code>{escape(chosen)}</code></p>",
        f"<p>{result.point.error:.1%} error on validation images {JUDGED[result.point.error_from]}, "
        f"{result.point.latency_ms:.3f} ms by the table.</p>",
        _rows(facts.items()),
        "<h2>Where it lies</h2>",
        _frontier(run, images),
        *_way(run),
        *_measurements(run),
        "<h2>What is claimed</h2>",
        "<p>Each line can be checked on your machine: <code>python -m labkit verify THIS_FILE</code>.</p>",
        _rows((str(i), claim.says) for i, claim in enumerate(made, 1)),
    ]
    head = f'<meta charset="utf-8"><title>labkit: {escape(chosen)}</title><style>{STYLE}</style>'
    begin, end = f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}', "</body></html>\n"
    value = {"kind": KIND, "schema": SCHEMA, "page": _Page(begin + end).digest, "claims": [asdict(c) for c in made]}
    data = json.dumps(value).replace("<", "\\u003c")
    return f'{begin}<script type="application/json" id="claims">{data}</script>{end}'


def _frontier(run: runs.Run, images: ImageSet) -> str:
    result = run.result
    points = closed_loop.along_the_frontier(result.supernet, images, run.table, result.config, result.architecture, 40)
    (again,) = evaluate(result.supernet, [result.architecture], images, run.table, result.config)
    drawn = plots.frontier(points, chosen={"chosen": again})
    return plots.picture(
        drawn,
        "Error on shared weights against table latency of architectures along the frontier, the chosen one ringed.",
    )._repr_html_()


def _way(run: runs.Run) -> Iterator[str]:
    history = run.result.history
    if not history:
        return
    yield "<h2>How it was found</h2>"
    yield plots.picture(plots.learning(history), "Training loss of the shared weights, phase by phase.")._repr_html_()
    if any(row["phase"] == "joint" for row in history):
        drawn = plots.choices(history, run.space)
        yield plots.picture(drawn, "Probability of each candidate in each layer over the joint steps.")._repr_html_()


def _measurements(run: runs.Run) -> Iterator[str]:
    """Every row of the export, those without a number with their reason; and the closed loop where it was closed."""
    exported = _recorded(run, "export.json", "export")
    if exported is None:
        return
    yield "<h2>What was measured</h2>"
    rows = [RuntimeRow.from_json(row) for row in exported["runtimes"]]
    told = lambda row: str(row).removeprefix(row.label).strip()
    on = lambda row: f" ({row.measurement.card})" if row.measurement else ""
    yield _rows((row.label, told(row) + on(row)) for row in rows)
    loop = run.folder / "closed_loop.png"
    if loop.exists():
        yield plots.Picture(loop.read_bytes(), "Table, eager and compiled latencies along the frontier.")._repr_html_()


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in pairs) + "</table>"


def _recorded(run: runs.Run, name: str, kind: str) -> dict[str, Any] | None:
    """What an act on the run left in its folder; None where it did not happen, or to another architecture or images."""
    path = run.folder / name
    if not path.exists():
        return None
    value, architecture, digest = storage.read_json(path, kind, 1), run.result.architecture, run.data["digest"]
    same = value["architecture"] in (architecture.to_json(), list(architecture.ops))
    return value if same and value.get("data", digest) == digest else None  # exports of earlier versions do not say


class _Page(HTMLParser):
    """A page's claims, and a digest of all other text in it, pictures included."""

    def __init__(self, text: str):
        super().__init__()
        self.claims, self._inside, self._seen = "", False, hashlib.sha256()
        self.feed(text)

    @property
    def digest(self) -> str:
        return self._seen.hexdigest()[:12]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and dict(attributes).get("id") == "claims"
        if tag == "img":
            self._seen.update(str(attributes).encode())

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.claims += data
        else:
            self._seen.update(data.encode())
