"""Pages of the API reference: one a package, every public name under the path by which it is imported."""

import ast
from dataclasses import dataclass
from pathlib import Path

import griffe

GROUPS = {
    "Search": ("spaces", "data", "networks", "estimators", "oneshot", "blackbox"),
    "Hardware": ("latency", "runtimes", "deploy"),
    "Results": ("pareto", "stats", "plots", "benches", "runs"),
    "Course": ("course", "widgets"),
    "Extension and system": ("checks", "system"),
}
DOCUMENTED = {"system": ("errors", "checkpoints")}  # modules of a package whose face is empty


@dataclass(frozen=True)
class Face:
    """What a package shows.

    Attributes:
        names: classes, functions and values, as `labkit.<package>.<name>`.
        modules: modules that are part of the face, as `labkit.<package>.<module>`.
    """

    names: tuple[str, ...]
    modules: tuple[str, ...]


def loaded(root: Path) -> griffe.Object:
    """labkit as griffe reads it, without importing it."""
    extensions = griffe.load_extensions(str(Path(__file__).with_name("comments.py")))
    options = {"search_paths": [root], "docstring_parser": "google", "resolve_aliases": True}
    return griffe.load("labkit", extensions=extensions, **options)


def packages(root: Path) -> list[str]:
    """Names directly under labkit that a face or a module stands for; `cli` is a command, not an interface."""
    folder = root / "labkit"
    modules = {path.stem for path in folder.glob("[!_]*.py")}
    return sorted(modules | {path.parent.name for path in folder.glob("*/__init__.py")} - {"cli"})


def face(root: Path, path: str) -> Face:
    """The public names of the package or module `path`, in the order of its source."""
    file = root.joinpath(*path.split("."))
    stub, init, module = file / "__init__.pyi", file / "__init__.py", file.with_suffix(".py")
    source = next(candidate for candidate in (stub, init, module) if candidate.exists())
    names, modules = [], []
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            shown = [alias.name for alias in node.names if alias.asname == alias.name]
            whole = node.level == 1 and node.module is None
            (modules if whole else names).extend(f"{path}.{name}" for name in shown)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            names.append(f"{path}.{node.name}")
    modules += [f"{path}.{name}" for name in DOCUMENTED.get(path.removeprefix("labkit."), ())]
    return Face(tuple(names), tuple(modules))


def first_sentence(thing: griffe.Object | griffe.Alias) -> str:
    """The first paragraph of a docstring on one line; empty where there is none."""
    text = thing.docstring.value if thing.docstring else ""
    return " ".join(text.split("\n\n")[0].split())


def overview(labkit: griffe.Object, names: tuple[str, ...], before: str = "") -> str:
    """A table of names, `before` each of them a prefix, with first sentences and links to where they are documented."""
    rows = []
    for name in names:
        text = first_sentence(labkit[definition(labkit, name).removeprefix("labkit.")]).replace("|", "\\|")
        rows.append(f"| [`{before}{name.rpartition('.')[2]}`][{definition(labkit, name)}] | {text} |")
    return "\n".join(["| name | in a sentence |", "|---|---|", *rows])


def package_page(root: Path, labkit: griffe.Object, package: str) -> str:
    """One package: its docstring, a table of its names, then each of them, then the modules of its face."""
    path = f"labkit.{package}"
    shown = face(root, path)
    parts = [f"# labkit.{package}", labkit[package].docstring.value]
    if shown.names:
        parts += [overview(labkit, shown.names), *(documented(labkit, name) for name in shown.names)]
    for module in shown.modules:
        own = tuple(name for name in face(root, module).names if is_new(labkit, name, path, shown.names))
        if own:
            parts += [f"## {module} {{ #{module} }}", labkit[module.removeprefix("labkit.")].docstring.value]
            parts += [overview(labkit, own), *(documented(labkit, name, level=3) for name in own)]
    return "\n\n".join(parts) + "\n"


def index_page(root: Path, labkit: griffe.Object) -> str:
    """What `import labkit as lk` gives, and the packages by group."""
    parts = ["# API reference", "Each page is a package; a name is documented under the path by which it is imported."]
    for group, members in GROUPS.items():
        rows = [f"| [`labkit.{name}`]({name}.md) | {first_sentence(labkit[name])} |" for name in members]
        parts.append("\n".join([f"## {group}", "", "| package | in a sentence |", "|---|---|", *rows]))
    parts += ["## Short names", "After `import labkit as lk`:", overview(labkit, face(root, "labkit").names, "lk.")]
    return "\n\n".join(parts) + "\n"


def is_new(labkit: griffe.Object, name: str, package: str, shown: tuple[str, ...]) -> bool:
    """Whether `name` is defined in `package` and not among the names that its page shows already."""
    path = definition(labkit, name)
    return path.startswith(package + ".") and path not in {definition(labkit, other) for other in shown}


def documented(labkit: griffe.Object, name: str, level: int = 2) -> str:
    """What makes mkdocstrings write about `name`, under an anchor of that path."""
    shown = shown_as(labkit, name)
    anchor = f"[](){{ #{name} }}\n\n" if shown != name else ""
    return f"{anchor}::: {shown}\n    options:\n      heading_level: {level}"


def shown_as(labkit: griffe.Object, name: str) -> str:
    """`name`, or the path of its definition where griffe takes it for the module of the same name."""
    path = name.removeprefix("labkit.")
    last = path.rpartition(".")[2]
    return f"{name}.{last}" if labkit[path].is_module and last in labkit[path].members else name


def definition(labkit: griffe.Object, name: str) -> str:
    """The path at which `name` is defined; the reference answers to it too."""
    try:
        return labkit[shown_as(labkit, name).removeprefix("labkit.")].canonical_path
    except (KeyError, griffe.AliasResolutionError):
        raise ValueError(f"{name} is shown by a face and not defined by a statement of its own: write one") from None


def pages(root: Path) -> dict[str, str]:
    """The pages of the reference by their path in the site."""
    labkit = loaded(root)
    found = {f"api/{package}.md": package_page(root, labkit, package) for package in packages(root)}
    return {"api/index.md": index_page(root, labkit)} | found


def navigation() -> list:
    """The part of the site's menu that lists the packages."""
    groups = [{group: [{f"labkit.{name}": f"api/{name}.md"} for name in names]} for group, names in GROUPS.items()]
    return ["api/index.md", *groups]
