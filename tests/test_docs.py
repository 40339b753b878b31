"""Pages that are made by a command say what the command says today; what visitors see agrees with what is run."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def loaded(path):
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def docs(name):
    return loaded(ROOT / "docs" / f"{name}.py")


def test_the_results_are_those_of_the_recorded_files():
    fill = docs("fill")
    assert fill.PAGE.read_text(encoding="utf-8") == fill.page(), "run `python docs/fill.py`"
    assert fill.estimators()["rows"][0]["name"] == "REBAR"
    ahead = [row["ours"] < row["best"] for row in fill.mobile()["rows"]]
    assert ahead == [False, True, True, True], "the sentences around the table say so"


def test_the_map_is_that_of_the_imports():
    found = docs("map")
    assert found.OUT.read_text(encoding="utf-8") == found.svg(), "run `python docs/map.py`"
    uses = found.packages()
    floors = {name: floor for floor, row in enumerate(found.floors(uses)) for name in row}
    assert all(floors[used] < floors[name] for name in uses for used in uses[name])


def test_every_file_of_the_table_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## I want to") :]
    named = re.findall(r"`([\w/.]+\.(?:py|jinja)|[\w/]+/)`", table)
    assert len(named) > 20
    missing = [name for name in named if not ((ROOT / "labkit" / name).exists() or (ROOT / name).exists())]
    assert missing == []


def described_and_absent(source):
    """Functions, and arguments under their `Args:` that they do not take."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            section = re.search(r"\nArgs:\n((?:    .*\n?|\n)+)", (ast.get_docstring(node) or "") + "\n")
            lines = re.findall(r"^    (\*{0,2}\w.*?)(?: \(.*?\))?:", section[1] if section else "", re.MULTILINE)
            described = {name.strip(" *") for line in lines for name in line.split(",")}
            given = node.args
            taken = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            if absent := described - {argument.arg for argument in taken if argument}:
                yield node.name, absent


def test_arguments_that_are_described_are_taken():
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        assert list(described_and_absent(path.read_text(encoding="utf-8"))) == [], path
    wrong = 'def f(a, *, b, **c):\n    """Act.\n\n    Args:\n        a, b: two: of them.\n            d: of b.\n%s"""'
    assert list(described_and_absent(wrong % "        c: more.\n    ")) == []
    assert list(described_and_absent(wrong % "        e: gone.\n    ")) == [("f", {"e"})]


def test_links_of_the_pages_lie_in_the_clone():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page


ELSEWHERE = {
    "python3 lab.py run all": "tests/test_notebooks.py runs every notebook in .ci/run",
    "python3 lab.py docs": "needs the extra `docs`; tests/test_docs_site.py where that is installed",
}


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ours = [line for line in script.splitlines() if line.startswith("python3 lab.py")]
    assert ours == ["python3 lab.py lint", "python3 lab.py test"]
    assert [step for step in steps if step.startswith("python3 lab.py")] == [*ours, *ELSEWHERE]
    assert set(workflow["jobs"]) == {"lint", "test", "notebooks", "docs"}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks["repos"][0]["hooks"][0]["entry"] == "python lab.py lint"
    assert [command[0] for command in loaded(ROOT / "lab.py").LINT] == ["ruff", "ruff", "mypy"]


def test_the_notebooks_glossary_is_that_of_the_page():
    fill = docs("fill")
    assert fill.NOTEBOOK.read_text(encoding="utf-8") == fill.notebook(), "run `python docs/fill.py`"
    terms = fill.terms()
    assert list(terms) == [fill.COURSE, "In the reference"]
    assert len(terms[fill.COURSE]) >= 16 and len(terms["In the reference"]) >= 30
    assert ("**architecture**", "one candidate for every slot, as names") in terms[fill.COURSE]
    names = [name for under in terms.values() for term, _ in under for name in re.findall(r"\*\*(.+?)\*\*", term)]
    assert len(names) == len(set(names)), "one word for one thing"
    built = (ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
    assert all(f"| {term} | {meaning} |" in built for term, meaning in terms[fill.COURSE])


def test_a_changed_meaning_changes_the_notebook(tmp_path):
    fill = docs("fill")
    text = fill.GLOSSARY.read_text(encoding="utf-8")
    fill.GLOSSARY = tmp_path / "glossary.md"
    fill.GLOSSARY.write_text(text.replace("one candidate for every slot, as names", "names"), encoding="utf-8")
    assert "# | **architecture** | names |\n" in fill.notebook()
    fill.GLOSSARY.write_text(text + "- no term\n", encoding="utf-8")
    with pytest.raises(ValueError, match="got '- no term'"):
        fill.terms()
