"""The faults that `mutation.py` plants, and whether it tells found ones from survivors."""

import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import mutation

TEXT = '''LIMIT = 3


def clipped(x: float, most: float = 1.0) -> float:
    """At most 2 + 2."""
    if x < 0 and not most == 5:
        raise ValueError(f"{x + 1}")
    x += 1
    return min(x, most)
'''


def test_faults_are_changes_of_what_a_function_does():
    changes = {(f.line, f.old, f.new) for f in mutation.faults_of("module.py", TEXT)}
    assert changes == {
        (6, "x < 0 and not most == 5", "((x < 0) or (not most == 5))"),
        (6, "x < 0", "x <= 0"),
        (6, "0", "1"),
        (6, "not most == 5", "bool(most == 5)"),
        (6, "most == 5", "most != 5"),
        (6, "5", "6"),
        (8, "x += 1", "pass"),
        (8, "1", "2"),
        (9, "min(x, most)", "max(x, most)"),
    }


def test_what_changes_no_result_is_left_out():
    text = "import warnings\n\n\ndef f(x):\n    warnings.simplefilter('ignore')\n    return round(x + 1, 3)\n"
    assert mutation._without_result("stats.py", text) == {(5, 4), (6, 24)}
    assert (6, 21) in mutation._without_result("plots/canvas.py", text), "a constant of a figure"


def test_every_drawn_fault_is_a_program_and_is_taken_out_again(tmp_path):
    faults = mutation.drawn(40, 1)
    assert len({f.module.partition("/")[0] for f in faults}) > 15 and faults == mutation.drawn(40, 1)
    for fault in faults:
        path = tmp_path / "labkit" / fault.module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(before := (mutation.ROOT / "labkit" / fault.module).read_text())
        mutation.planted(fault, tmp_path)
        after = path.read_text()
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before)), fault
        assert [n for n, (a, b) in enumerate(zip(before.splitlines(), after.splitlines()), 1) if a != b] == [fault.line]


def test_a_fault_is_found_by_a_test_that_sees_it_and_survives_one_that_does_not(tmp_path, monkeypatch):
    (tmp_path / "labkit").mkdir()
    (tmp_path / "tests").mkdir()
    module = tmp_path / "labkit" / "module.py"
    module.write_text(TEXT)
    test = tmp_path / "tests" / "test_module.py"
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    (fault,) = [f for f in mutation.faults_of("module.py", TEXT) if f.new == "max(x, most)"]
    start = "from labkit.module import clipped\n\n\ndef test_it():\n    assert "
    found = {}
    for text in ("clipped(3) == 1", "clipped(0) == 1"):
        test.write_text(start + text + "\n")
        found[text] = mutation.run(fault, tmp_path, ["tests/test_module.py::test_it"], 5.0).found
        assert module.read_text() == TEXT
    assert found == {"clipped(3) == 1": True, "clipped(0) == 1": False}
    assert mutation.run(fault, tmp_path, [], 0.0) == mutation.Outcome(fault, False, "no test executes it")


def test_the_tests_of_a_line_are_those_that_execute_it_the_nearest_first(tmp_path):
    (tmp_path / "labkit" / "package").mkdir(parents=True)
    (tmp_path / "labkit" / "package" / "module.py").write_text(TEXT)
    own, far = (tmp_path / "tests" / name for name in ("package", "other"))
    start = "from labkit.package.module import clipped\n\n\n"
    for folder, name in ((own, "test_module.py"), (own, "test_near.py"), (far, "test_far.py")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(
            start + "def test_it():\n    assert clipped(3) == 1\n\n\ndef test_import():\n    pass\n"
        )
    (own / "test_module.py").write_text(
        start + "def test_broken():\n    assert clipped(3) == 2\n\n\ndef test_it():\n    clipped(2)\n"
    )
    coverage, times = tmp_path / "c", tmp_path / "t.xml"
    mutation.noted(tmp_path, coverage, times)
    suite = mutation.Suite.read(coverage, times)
    tests = suite.tests_of("package/module.py", 9)
    assert tests == [f"tests/{at}.py::test_it" for at in ("package/test_module", "package/test_near", "other/test_far")]
    assert suite.tests_of("package/module.py", 7) == [] == suite.tests_of("package/other.py", 9)
