"""Plant one-line faults in the library, one at a time, and count how many of them the tests find.

    python tests/mutation.py --faults 160 --seed 0 --out mutation.jsonl

Every fault is a small change of one expression: a comparison, an operator, a constant, a swapped `min` and `max`, a
left-out statement. The faults are drawn evenly over the packages. Each is planted in a copy of the tree, where first
the test file of the module runs, then the tests of its package. A fault that all of them pass is printed as a survivor.
A later call with the same arguments resumes from the file. It takes hours, so it runs at night.
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
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What cannot run on a machine without its device, or is run only in a browser.
LEFT_OUT = ("runtimes/tensorrt_engines.py", "runtimes/cuda_graphs.py", "system/malloc.py")
# Looks of a figure, which no test holds.
LOOKS = {"alpha", "lw", "linewidth", "ls", "s", "zorder", "fontsize", "pad", "markersize", "figsize", "width", "height"}
PATIENCE = 3.0  # times what the tests take without a fault; a fault that makes them endless is found
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


def _is_text(node: ast.BinOp) -> bool:
    texts = (ast.JoinedStr, ast.Constant)
    return any(
        isinstance(s, texts) and not isinstance(getattr(s, "value", ""), int | float) for s in (node.left, node.right)
    )


def drawn(n: int, seed: int) -> list[Fault]:
    """`n` faults, the packages in turn, each fault of another line."""
    generator = random.Random(seed)
    groups: dict[str, list[Fault]] = {}
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        module = path.relative_to(ROOT / "labkit").as_posix()
        if module not in LEFT_OUT and not path.name.startswith("__"):
            groups.setdefault(module.partition("/")[0], []).extend(faults_of(module, path.read_text()))
    for group in groups.values():
        generator.shuffle(group)
    found: dict[tuple[str, int], Fault] = {}
    while len(found) < n and any(groups.values()):
        for group in (g for g in groups.values() if g):
            fault = group.pop()
            if len(found) < n:
                found.setdefault((fault.module, fault.line), fault)
    return list(found.values())


def tests_of(module: str) -> list[str]:
    """The test file of a module, then the folder of its package's tests, as far as they are there."""
    path = Path(module)
    own = path.parent / f"test_{path.stem}.py"
    folder = path.parts[0] if len(path.parts) > 1 else ""
    return [f"tests/{at}" for at in dict.fromkeys((own.as_posix(), folder)) if at and (ROOT / "tests" / at).exists()]


def planted(fault: Fault, tree: Path) -> Path:
    """Write the fault into the tree; the file that was changed."""
    path = tree / "labkit" / fault.module
    lines = path.read_text().splitlines(keepends=True)
    line = lines[fault.line - 1].encode()
    lines[fault.line - 1] = (line[: fault.start] + fault.new.encode() + line[fault.end :]).decode()
    path.write_text("".join(lines))
    ast.parse(path.read_text())
    return path


def run(fault: Fault, tree: Path, seconds: dict[str, float]) -> Outcome:
    """Plant the fault, run the tests until some fail, and take it out again.

    Args:
        fault: the change.
        tree: a copy of the clone.
        seconds: what each test path takes without a fault.
    """
    before = (tree / "labkit" / fault.module).read_bytes()
    path = planted(fault, tree)
    try:
        for tests in tests_of(fault.module):
            if not passes(tests, tree, 60 + PATIENCE * seconds[tests]):
                return Outcome(fault, True, tests)
        return Outcome(fault, False, "")
    finally:
        path.write_bytes(before)


def passes(tests: str, tree: Path, seconds: float | None = None) -> bool:
    """Whether the tests pass in the tree, within the seconds if there is a limit."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutation.jsonl"))
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(row["fault"]["module"], row["fault"]["line"], row["fault"]["new"]) for row in rows}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv*", "site", "__pycache__", ".ci*"))
        for fault in drawn(arguments.faults, arguments.seed):
            if (fault.module, fault.line, fault.new) in done:
                continue
            for tests in (t for t in tests_of(fault.module) if t not in seconds):
                started = time.perf_counter()
                if not passes(tests, tree):
                    sys.exit(f"{tests} fails without any fault: mend that first")
                seconds[tests] = time.perf_counter() - started
            outcome = run(fault, tree, seconds)
            rows.append(asdict(outcome))
            with arguments.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            verdict = "found" if outcome.found else "SURVIVED"
            print(f"{verdict:8} {fault.module}:{fault.line}  {fault.old}  ->  {fault.new}", flush=True)
    found = sum(row["found"] for row in rows)
    print(f"{found} of {len(rows)} faults found ({found / max(1, len(rows)):.0%})")


if __name__ == "__main__":
    main()
