"""Every module has its test file, and every public name says what it takes, returns and raises."""

import ast
import importlib
import inspect
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = ROOT / "labkit", ROOT / "tests"


def test_file(module, package=PACKAGE, tests=TESTS):
    """Where the tests of a module lie. Functions in an `__init__.py` are tested under the name of the package."""
    inside = module.relative_to(package)
    name = inside.parent.name if module.stem == "__init__" else module.stem
    return tests / inside.parent / f"test_{name}.py"


test_file.__test__ = False


def holds_code(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return module.stem != "__init__" or any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in tree.body)


def without_tests(package=PACKAGE, tests=TESTS):
    modules = [m for m in package.rglob("*.py") if m.stem != "__main__" and "offline" not in m.parts and holds_code(m)]
    return {
        str(m.relative_to(package).with_suffix(""))
        for m in modules
        if not (file := test_file(m, package, tests)).exists() or "def test_" not in file.read_text(encoding="utf-8")
    }


def test_every_module_has_its_test_file():
    assert without_tests() == set(), "give each a tests/<package>/test_<module>.py"


def test_the_check_sees_a_module_without_tests(tmp_path):
    package, tests = tmp_path / "labkit", tmp_path / "tests"
    for folder in (package / "a", tests / "a"):
        folder.mkdir(parents=True)
    (package / "a" / "__init__.py").write_text("x = 1\n")
    for name in ("one", "two", "three"):
        (package / "a" / f"{name}.py").write_text("x = 1\n")
    (tests / "a" / "test_one.py").write_text("def test_it():\n    assert True\n")
    (tests / "a" / "test_two.py").write_text('"""Nothing yet."""\n')
    assert without_tests(package, tests) == {"a/two", "a/three"}


def faces():
    """Packages with the public names that their faces show."""
    for init in sorted(PACKAGE.rglob("__init__.py")):
        stub = init.with_suffix(".pyi")
        tree = ast.parse((stub if stub.exists() else init).read_text(encoding="utf-8"))
        imported = [a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname]
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        names = [name for name in imported + defined if not name.startswith("_")]
        if names:
            yield ".".join(init.parent.relative_to(ROOT).parts), names


def names(text, argument):
    """Whether a line of the docstring begins with the argument; `*rest` and `**options` may have their stars."""
    return re.search(rf"^    \*{{0,2}}{argument}:", text, re.MULTILINE) is not None


def lacking(function):
    """Sections that the docstring of a function does not have, though it takes or returns something."""
    text = inspect.getdoc(function) or ""
    if not text:
        return ["a docstring"]
    taken = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    sections = {line for line in text.splitlines() if line in ("Args:", "Returns:", "Yields:")}
    missing = ["Args:"] if taken and "Args:" not in sections else []
    missing += [f"`{name}` in Args:" for name in taken if "Args:" in sections and not names(text, name)]
    returned = str(inspect.signature(function).return_annotation)
    nothing = ("None", "Iterator[None]", "Generator[None, None, None]", "<class 'inspect._empty'>", "NoReturn")
    if taken and not returned.removeprefix("collections.abc.").endswith(nothing) and not sections - {"Args:"}:
        missing.append("Returns:")
    return missing


def is_protocol(cls):
    return getattr(cls, "_is_protocol", False)


def methods(cls):
    for name, member in vars(cls).items():
        if not name.startswith("_") and isinstance(member, classmethod | staticmethod):
            yield name, member.__func__
        elif not name.startswith("_") and inspect.isfunction(member):
            yield name, member


def described(cls):
    """What the docstring of a class, its properties and its methods lack."""
    text = inspect.getdoc(cls) if cls.__doc__ else ""
    if not text or (is_dataclass(cls) and text.startswith(f"{cls.__name__}(")):
        yield "a docstring"
    elif is_dataclass(cls) and "Attributes:" in text:
        missing = [f for f in vars(cls).get("__annotations__", {}) if not f.startswith("_") and f"    {f}:" not in text]
        yield from [f"`{field}` in Attributes:" for field in missing]
    elif inspect.isfunction(vars(cls).get("__init__")) and not is_dataclass(cls) and not is_protocol(cls):
        taken = [*inspect.signature(vars(cls)["__init__"]).parameters][1:]
        yield from [f"`{name}` in Args: or Attributes:" for name in taken if not names(text, name)]
    for name, method in methods(cls):
        yield from (f".{name} {missing}" for missing in lacking(method))
    for name, member in vars(cls).items():
        getter = getattr(member, "fget", None) or getattr(member, "func", None)
        if not name.startswith("_") and inspect.isfunction(getter) and not getter.__doc__:
            yield f".{name} a docstring"


def undescribed(package, names):
    found = []
    for name in names:
        thing = getattr(importlib.import_module(package), name)
        if inspect.isclass(thing) and thing.__module__.startswith("labkit"):
            found += [f"{package}.{name}: {missing}" for missing in described(thing)]
        elif inspect.isfunction(thing):
            found += [f"{package}.{name}: {missing}" for missing in lacking(thing)]
    return found


@pytest.mark.parametrize("package, names", list(faces()))
def test_public_names_say_what_they_take_return_and_raise(package, names):
    assert undescribed(package, names) == []


def test_the_check_sees_what_a_docstring_lacks():
    def bare(x):
        return x

    def one_line(x) -> int:
        """Return x."""

    def half(x, y) -> int:
        """Add.

        Args:
            x: a number.
        """

    def whole(x) -> int:
        """Double.

        Args:
            x: a number.

        Returns:
            Twice as much.
        """

    class Undescribed:
        def method(self, x) -> None:
            """Do it."""

    assert lacking(bare) == ["a docstring"]
    assert lacking(one_line) == ["Args:", "Returns:"]
    assert lacking(half) == ["`y` in Args:", "Returns:"]
    assert lacking(whole) == []
    assert list(described(Undescribed)) == ["a docstring", ".method Args:"]
