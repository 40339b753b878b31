"""One source, two editions: what each holds, and that a build is reproducible."""

import nbformat
import pytest

from labkit.course import editions
from labkit.system.errors import InputError


def test_the_learner_finds_blanks_and_the_solution_answers(root, STUB, ANSWER, learner, solution, cells):
    assert [cell.source for cell in cells(learner(root), "exercise")] == [STUB]
    assert [cell.source for cell in cells(solution(root), "exercise")] == [ANSWER]
    assert cells(learner(root), "solution") == [] and len(cells(solution(root), "solution")) == 1
    assert editions.exercise_cells(root / "notebooks" / "src" / "03_waiting.py") == [(STUB, ANSWER)]


def test_a_build_is_reproducible(root, learner, solution):
    before = {path: path.read_bytes() for path in editions.build(root)}
    assert list(before) == [learner(root), solution(root)]
    for path in before:
        path.unlink()
    assert {path: path.read_bytes() for path in editions.build(root)} == before
    assert editions.check(root) == []


def test_the_metadata_are_the_least_that_readers_need(root, learner, solution, cells):
    for path in (learner(root), solution(root)):
        notebook = nbformat.read(path, as_version=4)
        assert notebook.metadata.kernelspec.name == "python3"
        assert notebook.metadata.kernelspec.language == "python"
        assert {key for cell in notebook.cells for key in cell.metadata} == {"tags", "jupyter"}
    (setup,) = cells(learner(root), "setup")
    assert setup.metadata.jupyter.source_hidden


def test_ids_are_unique_shared_by_the_editions_and_stable(root, SOURCE, put, learner, solution, cells):
    ids = [cell.id for cell in cells(learner(root))]
    assert len(set(ids)) == len(ids)
    assert set(ids) < {cell.id for cell in cells(solution(root))}
    put(root, SOURCE.replace("# ## Waiting", "# # Another section\n\n# %%\n1 + 1\n\n# %% [markdown]\n# ## Waiting"))
    editions.build(root)
    assert set(ids) < {cell.id for cell in cells(learner(root))}


def test_outputs_stay_where_they_may_and_while_the_code_is_the_same(
    root, SOURCE, put, learner, solution, cells, store, html
):
    shown = html('<img alt="x" src="data:,">')
    store(learner(root), "keep_output", shown)
    editions.build(root)
    assert [cell.outputs for cell in cells(learner(root), "keep_output")] == [shown, shown]
    assert editions.check(root) == []
    put(root, SOURCE.replace("a fact", "another fact"))
    editions.build(root)
    assert [cell.outputs for cell in cells(learner(root), "keep_output")] == [shown, []]
    assert [cell.outputs for cell in cells(solution(root), "keep_output")] == [[], []]


def test_check_names_what_differs(root, SOURCE, put, learner, solution, store, html):
    assert editions.check(root) == []
    store(learner(root), "check", html("stray"))
    (stray,) = editions.check(root)
    assert stray.startswith("notebooks/03_waiting.ipynb is not what its source gives (line")
    assert "outputs" in stray and stray.endswith("run the build")
    editions.build(root)
    put(root, SOURCE.replace("a moment", "a while"))
    assert [line.split(" (")[0] for line in editions.check(root)] == [
        "notebooks/03_waiting.ipynb is not what its source gives",
        "notebooks/solutions/03_waiting.ipynb is not what its source gives",
    ]
    editions.build(root)
    solution(root).rename(solution(root).with_name("04_lost.ipynb"))
    assert editions.check(root) == [
        "notebooks/solutions/03_waiting.ipynb is missing: run the build",
        "notebooks/solutions/04_lost.ipynb has no source: remove it or write one",
    ]


def test_a_broken_edition_is_built_again(root, learner):
    learner(root).write_text("<<<<<<< ours", encoding="utf-8")
    assert len(editions.check(root)) == 1
    editions.build(root)
    assert editions.check(root) == []


KEPT = """display(HTML('<img alt="a line" src="data:,">'))"""


MIXED = """
import sys
from IPython.display import Image, Math
from ipywidgets import IntSlider
print("stays"); print("goes", file=sys.stderr)
display(IntSlider(), HTML("<b>stays</b>"), Math("x"))
display(Image(b"data", format="png"), Image(b"data", format="png", alt="seen"))
1 + 1
"""


@pytest.mark.notebooks
def test_execute_static_stores_what_shows_without_a_kernel(root, SOURCE, put, learner, cells):
    put(root, SOURCE.replace(KEPT, MIXED))
    assert editions.execute_static(root, ["03"]) == [learner(root)]
    picture, fact = cells(learner(root), "keep_output")
    assert [output.get("text") or dict(output.data) for output in picture.outputs] == [
        "stays\n",
        {"text/html": "<b>stays</b>", "text/plain": "<IPython.core.display.HTML object>"},
        {"image/png": "ZGF0YQ==", "text/plain": "<IPython.core.display.Image object>"},
        {"text/plain": "2"},
    ]
    assert picture.outputs[2].metadata == {"image/png": {"alt": "seen"}}
    assert fact.outputs[0].text == "a fact\n"
    # Numbered as in a straight run, else nbval says "Unrun reference cell has outputs".
    assert [cell.get("execution_count") for cell in (picture, fact)] == [3, 4]
    assert all(cell.get("outputs", []) == [] for cell in cells(learner(root), "check"))
    assert editions.check(root) == [] and editions.lint(learner(root)) == []


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("code", "message"),
    [("from ipywidgets import IntSlider\nIntSlider()", "leaves nothing to keep"), ("1 / 0", "ZeroDivisionError")],
)
def test_execute_static_stores_nothing_of_a_run_gone_wrong(root, code, message, SOURCE, put, learner):
    put(root, SOURCE.replace(KEPT, code))
    editions.build(root)
    before = learner(root).read_bytes()
    with pytest.raises(InputError, match=message):
        editions.execute_static(root)
    assert learner(root).read_bytes() == before


def test_a_build_that_changes_nothing_writes_nothing(root, learner):
    before = learner(root).stat().st_mtime_ns
    editions.build(root)
    assert learner(root).stat().st_mtime_ns == before
