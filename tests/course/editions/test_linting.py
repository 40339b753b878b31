"""What the lint refuses, each fault by its name, and what it lets be."""

import nbformat
import pytest
from nbformat.v4 import new_output

from labkit.course import editions


def test_the_sample_passes_the_lint(root, learner, solution, store, html):
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
def test_the_lint_refuses(old, new, message, tmp_path, SOURCE, put):
    assert old in SOURCE
    source = put(tmp_path, SOURCE.replace(old, new))
    problems = editions.lint(source)
    assert any(message in problem for problem in problems), problems


def test_the_lint_wants_a_static_twin_before_a_widget(tmp_path, SOURCE, put):
    source = put(tmp_path, SOURCE.replace('["keep_output"', '["report"').replace(', "nbval-check-output"', ""))
    assert any("no earlier keep_output cell" in problem for problem in editions.lint(source))


def test_the_lint_wants_a_blank_in_an_exercise(tmp_path, SOURCE, put):
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
def test_the_lint_lets_be(code, tmp_path, SOURCE, put):
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
def test_the_lint_refuses_stored_outputs_that_cannot_be_read(output, root, learner, store):
    store(learner(root), "keep_output", [output])
    assert [line for line in editions.lint(learner(root)) if "cannot be kept" in line or "without alt" in line]


def test_the_lint_refuses_saved_widget_state(root, learner):
    notebook = nbformat.read(learner(root), as_version=4)
    notebook.metadata["widgets"] = {}
    nbformat.write(notebook, learner(root))
    assert "saved widget state: GitHub and an offline reader cannot show it" in editions.lint(learner(root))
