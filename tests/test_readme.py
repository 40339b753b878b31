"""What README promises is what runs."""

import re
from pathlib import Path

import labkit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets():
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_other_snippets_run(capsys):
    _, *others = snippets()
    for snippet in others:
        exec(compile(snippet, "README.md", "exec"), {})
    assert "Trial(architecture=" in capsys.readouterr().out


def test_the_tour_runs(capsys):
    tour, *_ = snippets()
    lines = [line for line in tour.splitlines() if line.strip()]
    assert len(lines) <= 16
    exec(compile(tour, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "ms by the table" in said and "onnxruntime" in said and "baseline" in said


def test_it_names_every_notebook_and_verb():
    for notebook in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        assert f"| {notebook.name[:2]} |" in README
    for verb in ("doctor", "run", "study", "latency", "notebooks", "search", "export"):
        assert verb in README


def test_the_study_of_mobile_tiny_is_what_ships():
    found = labkit.benches.comparison.load("mobile-tiny-comparison")
    cost = {method: 100 * found.costs(method).mean(0) for method in found.methods}
    ours = cost[labkit.benches.comparison.OURS]
    best = [min(cost[m][w] for m in ("random", "evolution", "random from scratch")) for w in range(len(ours))]
    text = " ".join(README[README.index("Where no scan is possible") : README.index("## Start")].split())
    for w, weight in enumerate(found.latency_weights):
        said = re.search(rf"([\d.]+) and ([\d.]+)( points)? at (latency weight )?{weight:g}\b", text)
        assert said and said[1] == f"{ours[w]:.1f}" and said[2] == f"{best[w]:.1f}", weight
    judged = [row.judged for row in found.rows if row.method == "random from scratch"]
    assert f"{min(judged)} to {max(judged)} random networks" in text
    numbers = dict(zip(range(1, 11), "one two three four five six seven eight nine ten".split()))
    chose = lambda method: {row.seed: row.ops for row in found.rows if row.method == method}
    mine, evolved = chose(labkit.benches.comparison.OURS), chose("evolution")
    assert f"{numbers[len(mine)]} seeds are in" in text
    same = sum(mine[seed][-1] == evolved[seed][-1] for seed in mine)
    assert f"{numbers[same]} times ended at the very same network" in text


def test_the_estimators_at_equal_cost_are_what_ships():
    found, known = labkit.benches.comparison.load("five_layer-comparison"), labkit.benches.tabular.table.load()
    points, _, ours, *_ = labkit.benches.comparison.drawn(
        found, known, known.latency_like(found.table.card).name, estimators=True
    )
    text = " ".join(README[README.index("The sweep without its") : README.index("Where no scan is possible")].split())
    called = {
        "rebar": "REBAR", "unas": "UNAS", "reinforce": "REINFORCE",
        "gumbel": "Gumbel-Softmax", "darts": "DARTS", "straight-through": "straight-through",
    }  # fmt: skip
    assert set(points) == set(called)
    for name, several in points.items():
        said = re.search(rf"([\d.]+) (?:points )?\({called[name]}\b", text)
        assert said and said[1] == f"{several.mean():.2f}", name
    p = {n: labkit.stats.sign_flips(x.mean(1) - points[ours].mean(1)) for n, x in points.items() if n != ours}
    assert min(p["rebar"], p["reinforce"]) > 0.05
    assert f"{max(p['gumbel'], p['darts'], p['straight-through']):.3f}".removeprefix("0") in text
    assert len({ops for row in found.rows if row.method == found.estimators["darts"] for ops in row.ops}) == 1


def test_its_links_lie_in_the_clone():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_the_version_is_in_the_changelog():
    from importlib.metadata import version

    assert f"## {version('labkit')}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert labkit.__doc__
