"""One source, two editions: what each holds, that a build is reproducible, and what the lint refuses."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from labkit.course import editions, headless
from labkit.system import storage
from labkit.system.errors import InputError

ROOT = storage.NOTEBOOKS.parent

# The smallest notebook that passes the lint.
SOURCE = '''# %% [markdown] tags=["nb-header"]
# # 03. How long is a moment?

# %% [markdown] tags=["objectives"]
# - **O3.1** *measure* a wait.

# %% tags=["parameters"]
FAST = True  # a shortened run
SEED = 0

# %% [markdown]
# ## Waiting

# %% tags=["setup", "hide-input"]
from IPython.display import HTML, display
from ipywidgets import interact

# %% tags=["keep_output"]
display(HTML('<img alt="a line" src="data:,">'))

# %% tags=["keep_output", "nbval-check-output"]
print("a fact")

# %% tags=["widget"]
interact(lambda steps: steps, steps=(1, 5));


# %% tags=["exercise"]
def mean(waits):
    """The mean of `waits` in ms."""
    # stub: if not waits:
    # stub:     return 0.0
    # solution
    return sum(waits) / len(waits)
    # end solution


# %% tags=["check"]
print("right" if mean([1, 3]) == 2 else "not yet")

# %% [markdown] tags=["hint"]
# <details><summary>1</summary>Add.</details>
# <details><summary>2</summary>Divide.</details>
# <details><summary>3</summary>sum, len.</details>

# %% tags=["solution"]
print("the answer")
'''

STUB = '''def mean(waits):
    """The mean of `waits` in ms."""
    # write your code here
    if not waits:
        return 0.0'''
ANSWER = '''def mean(waits):
    """The mean of `waits` in ms."""
    return sum(waits) / len(waits)'''


@pytest.fixture
def root(tmp_path):
    put(tmp_path, SOURCE)
    editions.build(tmp_path)
    return tmp_path


def put(root: Path, text: str) -> Path:
    source = root / "notebooks" / "src" / "03_waiting.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return source


def learner(root: Path) -> Path:
    return root / "notebooks" / "03_waiting.ipynb"


def solution(root: Path) -> Path:
    return root / "notebooks" / "solutions" / "03_waiting.ipynb"


def cells(path: Path, tag: str = "") -> list:
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if not tag or tag in headless.tags(cell)]


def store(path: Path, tag: str, outputs: list) -> None:
    """As a run in place, or a careless hand, would leave it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if tag in headless.tags(cell):
            cell.outputs = outputs
    nbformat.write(notebook, path)


def html(text: str) -> list:
    return [new_output("display_data", {"text/html": text})]


def test_the_learner_finds_blanks_and_the_solution_answers(root):
    assert [cell.source for cell in cells(learner(root), "exercise")] == [STUB]
    assert [cell.source for cell in cells(solution(root), "exercise")] == [ANSWER]
    assert cells(learner(root), "solution") == [] and len(cells(solution(root), "solution")) == 1
    assert editions.exercise_cells(root / "notebooks" / "src" / "03_waiting.py") == [(STUB, ANSWER)]


def test_a_blank_without_a_stub_is_an_ellipsis(root):
    source = put(root, SOURCE.replace("    # stub: if not waits:\n    # stub:     return 0.0\n", ""))
    ((stub, _),) = editions.exercise_cells(source)
    assert stub.endswith("    # write your code here\n    ...")


def test_a_build_is_reproducible(root):
    before = {path: path.read_bytes() for path in editions.build(root)}
    assert list(before) == [learner(root), solution(root)]
    for path in before:
        path.unlink()
    assert {path: path.read_bytes() for path in editions.build(root)} == before
    assert editions.check(root) == []


def test_the_metadata_are_the_least_that_readers_need(root):
    for path in (learner(root), solution(root)):
        notebook = nbformat.read(path, as_version=4)
        assert notebook.metadata.kernelspec.name == "python3"
        assert notebook.metadata.kernelspec.language == "python"
        assert {key for cell in notebook.cells for key in cell.metadata} == {"tags", "jupyter"}
    (setup,) = cells(learner(root), "setup")
    assert setup.metadata.jupyter.source_hidden


def test_ids_are_unique_shared_by_the_editions_and_stable(root):
    ids = [cell.id for cell in cells(learner(root))]
    assert len(set(ids)) == len(ids)
    assert set(ids) < {cell.id for cell in cells(solution(root))}
    put(root, SOURCE.replace("# ## Waiting", "# # Another section\n\n# %%\n1 + 1\n\n# %% [markdown]\n# ## Waiting"))
    editions.build(root)
    assert set(ids) < {cell.id for cell in cells(learner(root))}


def test_outputs_stay_where_they_may_and_while_the_code_is_the_same(root):
    shown = html('<img alt="x" src="data:,">')
    store(learner(root), "keep_output", shown)
    editions.build(root)
    assert [cell.outputs for cell in cells(learner(root), "keep_output")] == [shown, shown]
    assert editions.check(root) == []
    put(root, SOURCE.replace("a fact", "another fact"))
    editions.build(root)
    assert [cell.outputs for cell in cells(learner(root), "keep_output")] == [shown, []]
    assert [cell.outputs for cell in cells(solution(root), "keep_output")] == [[], []]


def test_check_names_what_differs(root):
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


def test_a_broken_edition_is_built_again(root):
    learner(root).write_text("<<<<<<< ours", encoding="utf-8")
    assert len(editions.check(root)) == 1
    editions.build(root)
    assert editions.check(root) == []


def test_the_sample_passes_the_lint(root):
    assert editions.lint(root / "notebooks" / "src" / "03_waiting.py") == []
    assert editions.lint(solution(root)) == []
    assert all("without an output; run execute_static" in line for line in editions.lint(learner(root)))
    store(learner(root), "keep_output", html('<img alt="x" src="data:,">'))
    assert editions.lint(learner(root)) == []


CELL = "# %% [markdown]\n# ## Waiting\n"  # new cells are put behind it


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# # 03.", "# # 04.", "starts with `# 03. a title`"),
        ('tags=["objectives"]', "", "no Markdown cell is tagged objectives"),
        ('tags=["parameters"]', "", "0 code cells are tagged parameters"),
        ("SEED = 0", "SEED = 1 + 1", "more than `NAME = literal`"),
        ("SEED = 0", "SEED = 0\nprint(SEED)", "more than `NAME = literal`"),
        ("SEED = 0", "\n".join(f"P{n} = {n}" for n in range(8)), "has 9 parameters; expected 1 to 8"),
        ('# %% tags=["parameters"]', '# %%\n1\n\n# %% tags=["parameters"]', "not the first code cell"),
        ('tags=["check"]', "", "has no code cell tagged check"),
        ("# <details><summary>1</summary>Add.</details>\n", "", "has 2 `<details>`"),
        ('tags=["exercise"]', "", "no code cell is tagged exercise"),
        ('tags=["exercise"]', "", "mark outside a cell tagged exercise"),
        ("    # solution\n", "", "lacks its `# solution` line"),
        ("    # end solution\n", "", "lacks its `# end solution` line"),
        ("return sum(waits)", "return sum(waits", "SyntaxError"),
        ("    # stub:     return 0.0", "    # stub:     return (", "SyntaxError"),
        ('tags=["setup"', 'tags=["settings"', "unknown tags settings"),
        ('tags=["keep_output"', 'tags=["report"', "nbval-check-output without keep_output"),
        ('<img alt="a line" src', "<img src", "an <img> without alt text"),
        ('<img alt="a line" src', '<img alt="" src', "an <img> without alt text"),
        (CELL, CELL + "#\n# ![](picture.svg)\n", "a Markdown image without alt text"),
        (CELL, CELL + "\n# %%\n" + "1\n" * 26, "26 lines of code; at most 25"),
        (CELL, CELL + "\n# %%\n# !ls\n", "shell command's failure is invisible"),
        (CELL, CELL + "\n# %%\n# %pip install x\n", "magic %pip"),
        (CELL, CELL + "\n# %%\n# %%bash\n# ls\n", "run_cell_magic bash"),
        (CELL, CELL + "\n# %%\nname = input()\n", "`input` waits"),
        (CELL, CELL + '\n# %%\naddress = "https://example.org"\n', "an address in code"),
        (CELL, CELL + "\n# %%\nimport urllib.request\n", "imports urllib.request"),
        (CELL, CELL + "\n# %%\nfrom urllib import request\n", "imports urllib.request"),
        (CELL, CELL + "\n# %%\nload('cifar10', download=True)\n", "`load` downloads"),
        (CELL, CELL + '\n# %%\nopen("/home/me/x")\n', "the absolute path '/home/me/x'"),
        (CELL, CELL + '\n# %%\nopen("C:/x")\n', "the absolute path 'C:/x'"),
        (CELL, CELL + '\n# %%\nopen(f"~/{name}")\n', "the absolute path '~/'"),
        (CELL, CELL + "\n# %%\n# " + "x" * 150_000 + "\n", "bytes; at most 150,000"),
    ],
)
def test_the_lint_refuses(old, new, message, tmp_path):
    assert old in SOURCE
    source = put(tmp_path, SOURCE.replace(old, new))
    problems = editions.lint(source)
    assert any(message in problem for problem in problems), problems


def test_the_lint_wants_a_static_twin_before_a_widget(tmp_path):
    source = put(tmp_path, SOURCE.replace('["keep_output"', '["report"').replace(', "nbval-check-output"', ""))
    assert any("no earlier keep_output cell" in problem for problem in editions.lint(source))


def test_the_lint_wants_a_blank_in_an_exercise(tmp_path):
    text = SOURCE.replace("    # solution\n", "").replace("    # end solution\n", "")
    source = put(tmp_path, text.replace("    # stub: if not waits:\n    # stub:     return 0.0\n", ""))
    assert any("has no `# solution`" in problem for problem in editions.lint(source))


@pytest.mark.parametrize(
    "code",
    [
        'print(f"{folder}/a/b/{name}", "ms/image", "/", " / ")',
        "# %matplotlib inline",
        "await lk.race()",
        "subprocess.run(['ls'], check=True)",
    ],
)
def test_the_lint_lets_be(code, tmp_path):
    assert editions.lint(put(tmp_path, SOURCE.replace(CELL, CELL + f"\n# %%\n{code}\n"))) == []


@pytest.mark.parametrize(
    "output",
    [
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "interactive()"}),
        new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"}),
        new_output("stream", name="stderr", text="a warning"),
        new_output("error", ename="ValueError", evalue="", traceback=[]),
        new_output("display_data", {"text/html": "<img src='data:,'>"}),
    ],
    ids=lambda output: output.output_type,
)
def test_the_lint_refuses_stored_outputs_that_cannot_be_read(output, root):
    store(learner(root), "keep_output", [output])
    assert [line for line in editions.lint(learner(root)) if "cannot be kept" in line or "without alt" in line]


def test_the_lint_refuses_saved_widget_state(root):
    notebook = nbformat.read(learner(root), as_version=4)
    notebook.metadata["widgets"] = {}
    nbformat.write(notebook, learner(root))
    assert "saved widget state: GitHub and an offline reader cannot show it" in editions.lint(learner(root))


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
def test_execute_static_stores_what_shows_without_a_kernel(root):
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
def test_execute_static_stores_nothing_of_a_run_gone_wrong(root, code, message):
    put(root, SOURCE.replace(KEPT, code))
    editions.build(root)
    before = learner(root).read_bytes()
    with pytest.raises(InputError, match=message):
        editions.execute_static(root)
    assert learner(root).read_bytes() == before


@pytest.mark.parametrize("source", editions.sources(ROOT), ids=lambda path: path.stem)
def test_every_exercise_compiles_as_a_stub_and_as_an_answer(source):
    found = editions.exercise_cells(source)
    assert found
    for stub, answer in found:
        compile(stub, f"{source.stem} stub", "exec")
        compile(answer, f"{source.stem} answer", "exec")
        assert stub != answer
