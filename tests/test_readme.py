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


def test_it_is_short_and_begins_with_how_to_begin():
    words = re.sub(r"```.*?```", "", README, flags=re.DOTALL).split()
    assert len(words) <= 660
    head = README.splitlines()[:25]
    assert any(line.startswith("python lab.py  ") for line in head) and any("lab.py test" in line for line in head)


def test_its_links_lie_in_the_clone():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_the_version_is_in_the_changelog():
    from importlib.metadata import version

    assert f"## {version('labkit')}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert labkit.__doc__
