"""Write docs/results.md, a template filled in from the recorded files in data/, and the first notebook's glossary.

The glossary is the first list of docs/glossary.md. Afterwards build the notebooks: `python -m labkit notebooks build`.
"""

import re
from pathlib import Path

import jinja2

import labkit as lk

HERE = Path(__file__).parent
PAGE, TEMPLATE = HERE / "results.md", "results.md.jinja"
GLOSSARY, NOTEBOOK = HERE / "glossary.md", HERE.parent / "notebooks" / "src" / "00_start_here.py"
COURSE = "In the course"  # heading of the terms that the notebook shows
CALLED = {
    "rebar": "REBAR",
    "unas": "UNAS",
    "reinforce": "REINFORCE",
    "gumbel": "Gumbel-Softmax",
    "darts": "DARTS",
    "straight-through": "straight-through",
}


def page() -> str:
    """The page as it should read."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(TEMPLATE).render(estimators=estimators(), mobile=mobile())


def estimators() -> dict:
    """Mean true regret of sweeps that follow each estimator, least first."""
    found, known = lk.benches.comparison.load("five_layer-comparison"), lk.benches.tabular.load()
    latency = known.latency_like(found.table.card).name
    points, _, ours, *_ = lk.benches.comparison.drawn(found, known, latency, estimators=True)
    rows = []
    for name, regrets in sorted(points.items(), key=lambda pair: pair[1].mean()):
        p = None if name == ours else lk.stats.sign_flips(regrets.mean(1) - points[ours].mean(1))
        rows.append({"name": CALLED[name], "regret": regrets.mean(), "p": "" if p is None else f"{p:.3f}"})
    return {"rows": rows, "seeds": len(points[ours])}


def mobile() -> dict:
    """What sweeps of mobile-tiny chose, and the best of the baselines, at each latency weight."""
    found = lk.benches.comparison.load("mobile-tiny-comparison")
    ours = lk.benches.comparison.OURS
    cost = {method: 100 * found.costs(method).mean(0) for method in found.methods}
    baselines = [cost[method] for method in ("random", "evolution", "random from scratch")]
    rows = [
        {"weight": f"{weight:g}", "ours": cost[ours][w], "best": min(costs[w] for costs in baselines)}
        for w, weight in enumerate(found.latency_weights)
    ]
    trained = [row.evaluated for row in found.rows if row.method == "random from scratch"]
    chosen = lambda method: {row.seed: row.ops for row in found.rows if row.method == method}
    mine, evolved = chosen(ours), chosen("evolution")
    same = sum(mine[seed][-1] == evolved[seed][-1] for seed in mine)
    return {"rows": rows, "seeds": len(mine), "fewest": min(trained), "most": max(trained), "same": same}


def terms() -> dict[str, list[tuple[str, str]]]:
    """Terms and meanings under each heading of the glossary."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            under = found.setdefault(line.removeprefix("## "), [])
        elif entry := re.fullmatch(r"- (\*\*.+?\*\*(?:, \*\*.+?\*\*)*): (.+)", line):
            under.append((entry[1], entry[2]))
        elif found and line:
            raise ValueError(f"a line of {GLOSSARY.name} is `- **term**: meaning`; got {line!r}")
    return found


def notebook() -> str:
    """The source of the first notebook as it should read, with the terms of the course as its table."""
    head = "# | word | meaning |\n# | --- | --- |\n"
    rows = "".join(f"# | {term} | {meaning} |\n" for term, meaning in terms()[COURSE])
    before, after = NOTEBOOK.read_text(encoding="utf-8").split("# ## Words\n", 1)
    table = re.compile(re.escape(head) + r"(?:# \|.*\n)+")
    return before + "# ## Words\n" + table.sub(lambda _: head + rows, after, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
    print(f"wrote {PAGE} and {NOTEBOOK}")
