"""A module imports only from lower floors, and importing labkit stays light."""

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "labkit"
FLOORS = (
    "system",
    "spaces data stats",
    "pareto networks estimators runtimes",
    "latency blackbox",
    "oneshot",
    "deploy",
    "benches",
    "plots",
    "course runs",
    "widgets",
    "cli checks",
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "labkit":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("labkit."))


def test_every_package_imports_only_from_lower_floors():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names.split()}
    packages = {path.stem: [path] for path in PACKAGE.glob("[!_]*.py")}
    packages |= {path.parent.name: [*path.parent.rglob("*.py")] for path in PACKAGE.glob("*/__init__.py")}
    assert set(packages) == set(floor), "a package has no floor, or a floor no package"
    for name, paths in packages.items():
        for used in {used for path in paths for used in imports(path)} - {name}:
            assert used in floor, f"{name} imports {used} from the face: name the package that it stands in"
            assert floor[used] < floor[name], f"{name} imports {used} from its own floor or above"


def test_the_house_has_few_doors():
    assert len([path for path in PACKAGE.iterdir() if "__" not in path.name]) <= 20


def test_the_check_sees_an_upward_import(tmp_path):
    bad = tmp_path / "ops.py"
    bad.write_text("def f():\n    from labkit.oneshot.searching import search\n    from labkit import runs\n")
    assert list(imports(bad)) == ["oneshot", "runs"]


def siblings(path, package):
    """Modules of its own package that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (a.name for a in node.names if (path.parent / f"{a.name}.py").exists())
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package + "."):
            yield node.module.removeprefix(package + ".").split(".")[0]


def order(folder, package):
    return TopologicalSorter({path.stem: [*siblings(path, package)] for path in folder.glob("[!_]*.py")}).static_order()


def test_modules_of_a_package_import_in_no_circle(tmp_path):
    packages = [init.parent for init in PACKAGE.glob("*/**/__init__.py")]
    assert len(packages) > 16
    for package in packages:
        list(order(package, ".".join(package.relative_to(PACKAGE.parent).parts)))
    (tmp_path / "a.py").write_text("from labkit.widgets.explorer.b import x\n")
    (tmp_path / "b.py").write_text("def f():\n    from labkit.widgets.explorer import a\n")
    with pytest.raises(CycleError):
        list(order(tmp_path, "labkit.widgets.explorer"))


def test_no_module_bears_the_name_of_a_public_function():
    import labkit

    for path in PACKAGE.glob("[!_]*.py"):
        assert not callable(getattr(labkit, path.stem, None)), path.stem


def test_importing_labkit_is_light():
    """The bar is 0.7 s beyond torch; the heavy packages are what would break it, so they are what is tested."""
    code = (
        "import time, torch, sys, json; start = time.perf_counter(); import labkit; "
        "print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = json.loads(done.stdout)
    heavy = {"tensorrt", "tensorrt_rtx", "onnx", "onnxruntime", "ipywidgets", "matplotlib", "torchvision", "sklearn"}
    assert not heavy & set(modules)
    print(f"import labkit: {seconds:.2f} s beyond torch")
    assert seconds < 3 * 0.7, "three times the bar, for a busy machine"
