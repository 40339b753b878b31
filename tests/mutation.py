"""Plant one-line faults in the library, one at a time, and count how many of them the tests find.

    python tests/mutation.py --faults 160 --seed 0 --out mutation.jsonl

Every fault is a small change of one expression: a comparison, an operator, a constant, a swapped `min` and `max`, a
left-out statement. The faults are drawn evenly over the packages. First the whole suite runs once and notes which tests
execute which lines, and for how long each takes (mutation.coverage and mutation.xml beside the file of results). Then
each fault is planted in a copy of the tree, and the tests that execute its line run until one fails: those of the
module's own file first, then those of its package, then the others, for at most `BUDGET` seconds of tests. A fault that
all of them pass is printed as a survivor. A later call with the same arguments resumes. It takes hours, so it runs at
night.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
# What cannot run on a machine without its device, or is run only in a browser.
LEFT_OUT = ("runtimes/tensorrt_engines.py", "runtimes/cuda_graphs.py", "system/malloc.py")
# Looks of a figure, which no test holds.
LOOKS = {"alpha", "lw", "linewidth", "ls", "s", "zorder", "fontsize", "pad", "markersize", "figsize", "width", "height"}
BUDGET, MOST = 60.0, 100  # seconds that the tests of one fault took without it, and how many they are
PATIENCE = 6.0  # times that; a fault that makes them endless is found
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*"}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Fault:
    """One change: characters `start` to `end` of a line (from 1) become `new`."""

    module: str  # below labkit/
    line: int
    start: int
    end: int
    old: str
    new: str


@dataclass(frozen=True)
class Outcome:
    """Whether the tests found a fault, and which ones did."""

    fault: Fault
    found: bool
    by: str


def faults_of(module: str, text: str) -> Iterator[Fault]:
    """All faults of a module's text, in the order of the text."""
    lines = text.splitlines()
    for node in _executed(ast.parse(text)):
        for old, new, where in _changes(node):
            if where.lineno == where.end_lineno and (at := (where.col_offset, where.end_col_offset))[1] is not None:
                segment = lines[where.lineno - 1].encode()[at[0] : at[1]].decode()
                changed = new if old == "" else segment.replace(old, new, 1)
                if changed != segment:
                    yield Fault(module, where.lineno, *at, segment, changed)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes inside functions: without annotations, decorators, defaults of text, messages and asserts."""
    skipped = (ast.Raise, ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        waiting: list[ast.AST] = list(function.body)
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, skipped) or isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            yield node
            children = ast.iter_child_nodes(node)
            if isinstance(node, ast.AnnAssign):
                children = iter([node.value] if node.value is not None else [])
            waiting.extend(n for n in children if not (isinstance(n, ast.keyword) and n.arg in LOOKS))


def _changes(node: ast.AST) -> Iterator[tuple[str, str, ast.expr | ast.stmt]]:
    """(old, new, node): `old` within the text of the node becomes `new`; "" replaces the whole node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        new = COMPARISONS[type(node.ops[0])]
        yield "", f"{ast.unparse(node.left)} {new} {ast.unparse(node.comparators[0])}", node
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        yield "", f"({ast.unparse(node.left)} {OPERATORS[type(node.op)]} {ast.unparse(node.right)})", node
    elif isinstance(node, ast.BoolOp):
        new = " or " if isinstance(node.op, ast.And) else " and "
        yield "", "(" + new.join(f"({ast.unparse(value)})" for value in node.values) + ")", node
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "", f"bool({ast.unparse(node.operand)})", node
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "", ast.unparse(node.operand), node
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "", str(not node.value), node
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "", repr(node.value + 1), node
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield node.func.id, CALLS[node.func.id], node
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "", "pass", node


def _without_result(module: str, text: str) -> set[tuple[int, int]]:
    """(line, column) of what changes no result: digits of a rounding, looks of a figure, warnings, memory that is kept.

    Every figure's data are held to their input by the tests of `plots`; widths, colours and sizes are looked at.
    """
    places: set[tuple[int, int]] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "round":
                places |= {(each.lineno, each.col_offset) for each in node.args[1:]}
            if name in ("filterwarnings", "simplefilter", "keep_freed"):
                places.add((node.lineno, node.col_offset))
        if module.startswith("plots/") and isinstance(node, ast.Constant) and not isinstance(node.value, str):
            places.add((node.lineno, node.col_offset))
    return places


def _is_text(node: ast.BinOp) -> bool:
    texts = (ast.JoinedStr, ast.Constant)
    return any(
        isinstance(s, texts) and not isinstance(getattr(s, "value", ""), int | float) for s in (node.left, node.right)
    )


def drawn(n: int, seed: int) -> list[Fault]:
    """`n` faults, the packages in turn, each fault of another line."""
    generator = random.Random(seed)
    groups: dict[str, list[Fault]] = {}
    idle: dict[str, set[tuple[int, int]]] = {}
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        module = path.relative_to(ROOT / "labkit").as_posix()
        if module not in LEFT_OUT and not path.name.startswith("__"):
            groups.setdefault(module.partition("/")[0], []).extend(faults_of(module, path.read_text()))
            idle[module] = _without_result(module, path.read_text())
    for group in groups.values():
        generator.shuffle(group)
    found: dict[tuple[str, int], Fault] = {}
    while len(found) < n and any(groups.values()):
        for group in (g for g in groups.values() if g):
            fault = group.pop()
            if len(found) < n and (fault.line, fault.start) not in idle[fault.module]:
                found.setdefault((fault.module, fault.line), fault)
    return list(found.values())


@dataclass(frozen=True)
class Suite:
    """What one run of the whole suite noted.

    Attributes:
        lines: of a module, the tests that execute each line.
        seconds: of each test that passed.
    """

    lines: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]

    @classmethod
    def read(cls, coverage: Path, times: Path) -> "Suite":
        """Read the files of `noted`."""
        data, lines = CoverageData(str(coverage)), {}
        data.read()
        for path in data.measured_files():
            contexts = data.contexts_by_lineno(path)
            own = {line: {c.rpartition("|")[0] for c in several if c} for line, several in contexts.items()}
            lines[path.rpartition("/labkit/")[2]] = own
        seconds = {}
        for case in ElementTree.parse(times).iter("testcase"):
            if not {child.tag for child in case} & {"failure", "error", "skipped"}:
                name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
                seconds[name] = float(case.get("time", "0"))
        return cls(lines, seconds)

    def tests_of(self, module: str, line: int) -> list[str]:
        """The tests that execute a line, nearest to the module first, the quick ones first among equals."""
        path = Path(module)
        own = f"tests/{(path.parent / f'test_{path.stem}.py').as_posix()}"
        package = f"tests/{path.parts[0]}/"
        far = lambda test: 0 if test.startswith(own) else 1 if test.startswith(package) else 2
        known = [test for test in self.lines.get(module, {}).get(line, ()) if test in self.seconds]
        found, spent = [], 0.0
        for test in sorted(known, key=lambda test: (far(test), self.seconds[test], test)):
            if len(found) < MOST and (not found or spent + self.seconds[test] <= BUDGET):
                found.append(test)
                spent += self.seconds[test]
        return found


def noted(tree: Path, coverage: Path, times: Path) -> None:
    """Run the whole suite of the tree and write which test executes which line, and how long each takes."""
    workers = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile"]
    watch = ["--cov", "labkit", "--cov-context", "test", "--cov-report", "", f"--junitxml={times}"]
    pytest(tree, [*workers, *watch, "tests"], environment={"COVERAGE_FILE": str(coverage)})


def planted(fault: Fault, tree: Path) -> Path:
    """Write the fault into the tree; the file that was changed."""
    path = tree / "labkit" / fault.module
    lines = path.read_text().splitlines(keepends=True)
    line = lines[fault.line - 1].encode()
    lines[fault.line - 1] = (line[: fault.start] + fault.new.encode() + line[fault.end :]).decode()
    path.write_text("".join(lines))
    ast.parse(path.read_text())
    return path


def run(fault: Fault, tree: Path, tests: Sequence[str], seconds: float) -> Outcome:
    """Plant the fault, run the tests until one fails, and take it out again.

    Args:
        fault: the change.
        tree: a copy of the clone.
        tests: their names.
        seconds: what they take without a fault.
    """
    if not tests:
        return Outcome(fault, False, "no test executes it")
    before = (tree / "labkit" / fault.module).read_bytes()
    path = planted(fault, tree)
    names = tree / "mutation-tests.txt"  # names hold spaces and brackets, and are too long for a command line
    names.write_text("\n".join(tests))
    try:
        output = pytest(tree, ["-x", f"@{names}"], seconds=120 + PATIENCE * seconds)
        return Outcome(fault, output is not None, output or "")
    finally:
        path.write_bytes(before)
        names.unlink()


def pytest(
    tree: Path, arguments: Sequence[str], *, seconds: float | None = None, environment: dict[str, str] | None = None
) -> str | None:
    """Run tests in a tree: None where all pass, else the last line of the output, or that they did not end."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    whole = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    whole |= {"LABKIT_OFFLINE": "1"} | (environment or {})
    try:
        done = subprocess.run(
            command, cwd=tree, env=whole, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return "the tests did not end"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return None if done.returncode == 0 else (lines or done.stdout.splitlines() or ["no output"])[-1][:200]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faults", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutation.jsonl"))
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["fault"]["module"], row["fault"]["line"], row["fault"]["new"]) for row in rows}
    coverage, times = out.with_suffix(".coverage"), out.with_suffix(".xml")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv*", "site", "__pycache__", ".ci*"))
        if not times.exists():
            noted(tree, coverage, times)
        suite = Suite.read(coverage, times)
        for fault in drawn(arguments.faults, arguments.seed):
            if (fault.module, fault.line, fault.new) in done:
                continue
            tests = suite.tests_of(fault.module, fault.line)
            outcome = run(fault, tree, tests, sum(suite.seconds[test] for test in tests))
            rows.append(asdict(outcome))
            with out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            verdict = "found" if outcome.found else "SURVIVED"
            print(f"{verdict:8} {fault.module}:{fault.line}  {fault.old}  ->  {fault.new}", flush=True)
    found = sum(row["found"] for row in rows)
    print(f"{found} of {len(rows)} faults found ({found / max(1, len(rows)):.0%})")


if __name__ == "__main__":
    main()
