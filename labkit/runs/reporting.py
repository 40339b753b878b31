"""A search as one page that anyone can open: what was chosen, what was measured, and claims that can be checked again.

The page is self-contained: pictures inside, no script, no address. Its claims are in it as JSON; `verify` reads them
back, does the work again, and says of each whether it was reproduced, has drifted, or was not checked and why. A page
that was edited by hand has drifted too; against a forger who computes it all again nothing helps but doing the work.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from labkit import plots, spaces
from labkit.data import ImageSet
from labkit.deploy import closed_loop
from labkit.deploy.export import RuntimeRow
from labkit.latency.cards import Card
from labkit.networks.complexity import count
from labkit.networks.supernet import derive
from labkit.oneshot.evaluation import evaluate
from labkit.pareto import ERROR_SOURCES
from labkit.runs import baseline, exporting
from labkit.runs.claims import DRIFTED, NOT_CHECKED, STATEMENTS, Effort, statement
from labkit.runs.run import CLOSED_LOOP_PICTURE, EXPORT, REPORT, Run, load, trained
from labkit.system import storage
from labkit.system.errors import InputError

KIND, SCHEMA = "labkit report", 3
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
)


@dataclass(frozen=True)
class Claim:
    """One thing that a report says, and what it takes to check it."""

    name: str  # a key of STATEMENTS
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


def report(
    run: Run | str | Path,
    path: str | Path | None = None,
    *,
    data: ImageSet | None = None,
    download: bool = False,
) -> Path:
    """Write the report of a run, an HTML file that stands alone.

    Args:
        run: a saved run, or its folder.
        path: of the file; `report.html` in the run's folder otherwise.
        data: the images of the search, where no registered function makes them again.
        download: let torchvision fetch the images.

    Returns:
        The path.
    """
    run = run if isinstance(run, Run) else load(run)
    if data is None:
        data = run.image_set(download=download)
    run.check_images(data)
    return storage.write_text(run.folder / REPORT if path is None else path, _page(run, data, claims(run)))


def claims(run: Run) -> tuple[Claim, ...]:
    """All claims of a run.

    Args:
        run: a saved search.

    Returns:
        The claims, in the order of the report.
    """
    point, config, space, selection = run.result.point, run.result.config, run.space, run.result.selection
    made_by = run.data.made_by
    images = {"made_by": made_by and asdict(made_by), "digest": run.data.digest, "images": run.data.name}
    about = {"space": spaces.record(space), "ops": list(point.architecture.ops)}
    size = count(derive(space, point.architecture), space.image)
    table = run.table.to_json()
    made = [
        claim("images", images),
        claim("space", about),
        claim("complexity", {**about, **asdict(size)}),
        claim("table", {**about, "table": table, "ms": point.latency_ms}),
        claim(
            "search",
            {
                **about,
                **images,
                "method": run.result.method,
                "extra_inputs": list(run.result.extra_inputs),
                "device": run.device,
                "table": table,
                "config": asdict(config),
                "error": point.error,
                "evaluated": ERROR_SOURCES[point.error_from],
                "first_weights": run.result.first_weights,
                "selection": selection and msgspec.to_builtins(selection),
                "threads": run.threads,
            },
        ),
    ]
    done = trained(run)
    if done is not None and (done.architecture, done.data) == (point.architecture, run.data.digest):
        training = {"config": asdict(done.config), "accuracy": done.test_accuracy, "tested": run.data.test}
        made.append(claim("accuracy", {**about, **images, **training}))
    for row in (_exported(run) or {}).get("runtimes", ()):
        if row["card"] is not None and row["precision"] == "fp32":
            ms, spread = row[f"{Card.from_json(row['card']).statistic}_ms"], row["spread_ms"]
            made.append(claim("latency", {**about, "card": row["card"], "ms": ms, "spread_ms": spread}))
    found = baseline.load(run)
    if found is not None and (found.about.architecture, found.about.data) == (point.architecture, run.data.digest):
        made += _against_baselines(found, {**about, **images})
    return tuple(made)


def _against_baselines(found: baseline.Baselines, about: dict[str, Any]) -> Iterator[Claim]:
    """A claim of the milliseconds, and one a comparison."""
    if found.card is not None:
        card = Card.from_json(found.card).recorded().to_json()
        times = [[one.network, one.ms] for one in found.timed]
        kept = {name: about[name] for name in ("space", "ops")}
        yield claim("in turn", {**kept, "card": card, "times": times})
    config = asdict(found.about.training)
    for one in found.comparisons:
        rows = [row for row in found.of(one.group, one.target.name) if row.test_error is not None]
        theirs = [[row.network, row.seed, row.test_error] for row in rows]
        ours = [[seed, error] for seed, error in found.errors(baseline.CHOSEN).items()]
        compared = {"baseline": f"{one.baseline} {one.target}", "ours": ours, "theirs": theirs}
        yield claim("baseline", {**about, "config": config, "tested": found.tested, **compared})


def claim(name: str, value: dict[str, Any]) -> Claim:
    """Make a claim.

    Args:
        name: key of `claims.STATEMENTS`.
        value: its fields, as JSON.

    Returns:
        The claim with its sentence.

    Raises:
        InputError: no claim has this name, or its value is damaged.
    """
    return Claim(name, statement(name, value).sentence(), value)


def read(path: str | Path) -> tuple[Claim, ...]:
    """Read the claims of a report.

    Args:
        path: the HTML file.

    Returns:
        The claims, in the order of the report.

    Raises:
        InputError: the file is no report, is damaged, or lacks a claim that every report makes.
    """
    path = Path(path)
    try:
        page = _Page(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"no report can be read at {path} ({problem})") from None
    try:
        value = json.loads(page.claims)
        if (value["kind"], value["schema"]) != (KIND, SCHEMA):
            raise InputError(
                f"{path} is a {value['kind']} of schema {value['schema']}; this labkit reads {KIND} {SCHEMA}"
            )
        made = tuple(Claim(**one) for one in value["claims"])
        required = [name for name, kind in STATEMENTS.items() if kind.required]
        missing = [name for name in required if name not in {one.name for one in made}]
        if missing:
            raise InputError(f"{path} makes no claim of {', '.join(missing)}: it is not whole, write it again")
        return (*made, claim("page", {"digest": str(value["page"]), "found": page.digest}))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is not a report that labkit wrote, or its claims were damaged") from None


def verify(made: Iterable[Claim], *, full: bool = False, download: bool = False) -> Iterator[Verdict]:
    """Repeat the work behind each claim.

    Args:
        made: claims, as `claims` or `read` returns them.
        full: repeat long searches and trainings as well.
        download: let torchvision fetch the images.

    Returns:
        One verdict per claim, as each check ends.
    """
    for one in made:
        try:
            stated = statement(one.name, one.value)
            sentence = stated.sentence()
            if one.says != sentence:
                outcome, found = DRIFTED, f"its value says: {sentence}"
            else:
                outcome, found = stated.check(Effort(full, download))
        except InputError as problem:
            outcome, found = NOT_CHECKED, str(problem)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:  # reports come from strangers
            outcome, found = NOT_CHECKED, f"damaged claim: {type(problem).__name__} {problem}"
        yield Verdict(one, outcome, found)


# --- the page -----------------------------------------------------------------------------------------------


def _page(run: Run, images: ImageSet, made: tuple[Claim, ...]) -> str:
    result, data = run.result, run.data
    facts = {
        "searched in": f"{run.space.name} ({run.space.size:,} architectures), with {result.config.estimator}",
        "images": f"{data.name}: {data.train:,} to learn from, {data.valid:,} to choose by, {data.test:,} to test",
        "seed": str(result.config.seed),
        "cost": f"{len(result.history)} steps, {result.passes:,.0f} image passes, {result.seconds:.0f} s",
        "latencies of the search": str(run.table.card),
        "made with": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "date": run.date,
    }
    values = {
        "chosen": str(result.architecture),
        "space": run.space.name,
        "answer": f"{result.point.error:.1%} error on validation images {ERROR_SOURCES[result.point.error_from]}, "
        f"{result.point.latency_ms:.3f} ms by the table{_limit(run)}.",
        "baselines": _baselines(run),
        "facts": facts.items(),
        "frontier": _html(_frontier(run, images)),
        "history": [_html(picture) for picture in _way(run)],
        "measured": [*_measurements(run)],
        "loop_picture": _loop(run),
        "claims": [(str(i), one.says) for i, one in enumerate(made, 1)],
    }
    template = TEMPLATES.get_template("report.html.jinja")
    render = lambda embedded: template.render(values, embedded=embedded) + "\n"
    digest = _Page(render("")).digest
    value = {"kind": KIND, "schema": SCHEMA, "page": digest, "claims": [asdict(one) for one in made]}
    text = json.dumps(value, allow_nan=False).replace("<", "\\u003c")
    embedded = Markup(f'<script type="application/json" id="claims">{text}</script>')  # a `<` cannot end the script
    return render(embedded)


def _limit(run: Run) -> str:
    limit = run.result.config.limit_ms
    return "" if limit is None else f", within a deadline of {limit:.3g} ms"


def _baselines(run: Run) -> dict[str, Any] | None:
    """What the first screen says of baselines: losses before wins; None where none were trained."""
    found = baseline.load(run)
    if found is None or found.about.data != run.data.digest or found.about.architecture != run.result.architecture:
        return None
    drawn = found.timed and _html(baseline.picture(found))
    sentences = [str(one) for one in found.comparisons]
    return {
        "verdict": found.verdict,
        "sentences": [*sentences, *found.lacking],
        "picture": drawn or Markup(""),
        "table": baseline.standings(found),
        "notes": baseline.notes(found),
    }


def _loop(run: Run) -> Markup:
    """The picture of the closed loop; nothing where the loop was not closed."""
    path = run.folder / CLOSED_LOOP_PICTURE
    alt = "Table, eager and compiled latencies along the frontier."
    return _html(plots.Picture(path.read_bytes(), alt)) if path.exists() else Markup("")


def _html(picture: plots.Picture) -> Markup:
    return Markup(picture._repr_html_())  # it escapes its own alt text


def _frontier(run: Run, images: ImageSet) -> plots.Picture:
    result = run.result
    points = closed_loop.along_the_frontier(result.supernet, images, run.table, result.config, result.architecture, 40)
    (again,) = evaluate(result.supernet, [result.architecture], images, run.table, result.config)
    drawn = plots.frontier(points, chosen={"chosen": again})
    alt = "Error on shared weights against table latency of architectures along the frontier, the chosen one ringed."
    return plots.picture(drawn, alt)


def _way(run: Run) -> Iterator[plots.Picture]:
    history = run.result.history
    if not history:
        return
    yield plots.picture(plots.learning(history), "Training loss of the shared weights, phase by phase.")
    if any(row["phase"] == "joint" for row in history):
        drawn = plots.choices(history, run.space)
        yield plots.picture(drawn, "Probability of each candidate in each layer over the joint steps.")


def _measurements(run: Run) -> Iterator[tuple[str, str]]:
    """Every row of the export, those without a number with their reason."""
    for value in (_exported(run) or {}).get("runtimes", ()):
        row = RuntimeRow.from_json(value)
        on = f" ({row.measurement.card})" if row.measurement else ""
        yield row.label, str(row).removeprefix(row.label).strip() + on


def _exported(run: Run) -> dict[str, Any] | None:
    """What an export left in the run's folder; None where there is none, or one of another architecture or images."""
    path = run.folder / EXPORT
    if not path.exists():
        return None
    value = storage.read_json(path, exporting.KIND, exporting.SCHEMA)
    same = (value["architecture"], value["data"]) == (list(run.result.architecture.ops), run.data.digest)
    return value if same else None


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
