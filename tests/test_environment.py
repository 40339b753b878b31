"""pyproject.toml, environment.yml, constraints.txt and lab.py say the same."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


def disagreements(environment, project):
    """What keeps environment.yml from installing what pyproject.toml says."""
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    python = next((entry.removeprefix("python") for entry in conda if entry.startswith("python")), "")
    if SpecifierSet(python) != SpecifierSet(project["requires-python"]):
        yield f"python {python!r} is not {project['requires-python']}"
    if "pip" not in conda or len(conda) != 2:
        yield f"conda should bring python and pip alone, not {conda}"
    if pip != ["-c constraints.txt", "-e .[test]"]:
        yield f"pip should install the constrained project alone, not {pip}"
    if environment["name"] != project["name"]:
        yield "the names differ"


def test_environment_agrees_with_pyproject(project):
    environment = yaml.safe_load(read("environment.yml"))
    assert list(disagreements(environment, project)) == []


def test_the_comparison_sees_a_difference(project):
    for old, new in ((">=3.11", ">=3.10"), ("-c constraints.txt", "-c other.txt"), ("- pip\n", "- pip\n  - numpy\n")):
        changed = yaml.safe_load(read("environment.yml").replace(old, new))
        assert list(disagreements(changed, project)), old


def test_constraints_pin_every_dependency_within_its_range(project):
    pins = {}
    for line in read("constraints.txt").splitlines():
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        pins.setdefault(requirement.name.lower(), []).append(pin.version)
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, wanted):
        for version in pins[requirement.name.lower()]:
            assert requirement.specifier.contains(version), requirement


def test_pins_name_no_address():
    for name in ("constraints.txt", "pyproject.toml", "environment.yml"):
        assert not re.search(r"https?://|file:", read(name)), name
    assert not list(ROOT.glob("*.lock"))


def test_the_declared_ranges_are_the_ones_that_are_checked(project):
    from labkit.cli.doctor import examine

    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in read("lab.py")
    torch = next(r for r in map(Requirement, project["dependencies"]) if r.name == "torch")
    assert torch.specifier == SpecifierSet(">=2.11,<2.14")
    assert all(finding.level != "fix" for finding in examine())


def test_packages_asked_for_by_name_are_there(project):
    extras = project["optional-dependencies"]
    names = {Requirement(r).name for r in [*project["dependencies"], *extras["test"], *extras["tensorrt"]]}
    asked = "jupyterlab torch torchvision tensorrt onnx matplotlib ipywidgets papermill pytest nbval"
    assert set(asked.split()) <= names


NOT_IMPORTED = {
    "jupyterlab": "lab.py opens the course in it",
    "ipykernel": "the kernel of every notebook",
    "papermill": "started in a process of its own",
    "nbclient": "papermill runs cells with it",
    "jupyter-client": "repaired in papermill's process",
    "onnxscript": "torch.onnx.export imports it",
}


def imported(path):
    """Top-level names of what a file imports, also in functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def packages(folder):
    """Distributions, any of which brings what is imported -> the files that do. One not installed has its own name."""
    distributions, found = packages_distributions(), {}
    own = {"labkit", *(path.stem for path in Path(ROOT, folder).glob("*.py"))}
    for path in sorted(Path(ROOT, folder).rglob("*.py")):
        for name in set(imported(path)) - sys.stdlib_module_names - own:
            owners = frozenset(map(canonicalize_name, distributions.get(name, [name])))
            found.setdefault(owners, []).append(path)
    return found


def declared(requirements):
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def undeclared(folder, names):
    return {"/".join(owners): paths for owners, paths in packages(folder).items() if not owners & names}


def test_what_labkit_imports_is_a_dependency_or_an_extra_with_a_remedy(project):
    extras = {name: declared(wanted) for name, wanted in project["optional-dependencies"].items() if name != "test"}
    beyond = undeclared("labkit", declared(project["dependencies"]))
    for owners, paths in beyond.items():
        remedies = [f"pip install labkit[{extra}]" for extra, wanted in extras.items() if owners in wanted]
        for path in paths:
            assert any(remedy in path.read_text() for remedy in remedies), f"{path.name} imports {owners}"
    assert set(beyond) == {"openvino", "optuna"}


def test_what_the_tests_import_is_in_their_extra(project):
    extras = project["optional-dependencies"]
    assert undeclared("tests", declared(project["dependencies"]) | declared(extras["test"])) == {}
    tested = {entry.split(";")[0] for entry in extras["test"]}
    assert {*extras["baselines"], *extras["openvino"], *extras["rtx"]} <= tested, "an extra that any processor can test"


def test_every_dependency_is_used(project):
    used = set().union(*packages("labkit")) | set(NOT_IMPORTED)
    assert declared(project["dependencies"]) - used == set()
    assert set(NOT_IMPORTED) <= declared(project["dependencies"])


def test_an_import_is_seen_wherever_it_is(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("import os.path\nfrom . import sibling\ndef f():\n    from yaml import load\n")
    assert [*imported(file)] == ["os", "yaml"]
