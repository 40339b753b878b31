"""Pages that are files of the repository: links between them become links between pages."""

import ast
import os
import re
import shutil
from pathlib import Path

PAGES = {
    "README.md": "index.md",
    "docs/results.md": "results.md",
    "docs/glossary.md": "glossary.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "data/README.md": "data.md",
    "examples": "examples.md",
}
ALONE = "---\nhide: [navigation]\n---\n\n"  # a page that is the only one under its tab
LINK = re.compile(r"(```.*?```|`[^`]*`)|(\]\()([^)\s#:]+)(#[^)\s]*)?(\))", re.DOTALL)  # code is left alone


def pages(root: Path) -> dict[str, str]:
    """Files that are pages, by their path in the repository; those that do not exist yet are left out."""
    notebooks = {f"notebooks/{path.name}": f"course/{path.stem}.md" for path in root.glob("notebooks/[0-9]*.ipynb")}
    return {file: page for file, page in (PAGES | notebooks).items() if (root / file).exists()}


def relinked(text: str, file: str, page: str, root: Path, out: Path) -> str:
    """Markdown of the repository's `file` as that of the site's `page`.

    A link to a file that is a page leads to that page. Another file is copied to `out`/files, and the link leads there.

    Raises:
        ValueError: a link leads to no file of the repository.
    """
    known = pages(root)

    def place(link: re.Match) -> str:
        code, before, target, anchor, after = link.groups()
        if code:
            return code
        wanted = os.path.normpath(os.path.join(os.path.dirname(file), target))
        here = os.path.dirname(page) or "."
        if wanted in known:
            return before + os.path.relpath(known[wanted], here) + (anchor or "") + after
        if not (root / wanted).is_file():
            raise ValueError(f"{file} links to {target}, which is no page of the site and no file: mend the link")
        copy = out / "files" / wanted
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / wanted, copy)
        return before + os.path.relpath(Path("files", wanted), here) + (anchor or "") + after

    return LINK.sub(place, text)


def write(root: Path, out: Path) -> None:
    """Write every page that is a file of the repository, and the examples, into `out`."""
    for file, page in pages(root).items():
        if file.endswith(".md"):
            text = (root / file).read_text(encoding="utf-8")
            text = ALONE * (page in ("index.md", "changelog.md")) + relinked(text, file, page, root, out)
            (out / page).write_text(text, encoding="utf-8")
    (out / "examples.md").write_text(examples(root), encoding="utf-8")


def examples(root: Path) -> str:
    """The examples with their sources, each under the first sentence of its docstring."""
    parts = [
        "# Your own parts",
        "Each of these files adds a part of your own in at most 30 lines. It works everywhere: in a search, in worker "
        "processes, in a saved run, on the command line. The tests run each of them as a stranger would.",
    ]
    for path in sorted((root / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        title = path.stem.removeprefix("own_").replace("op", "operation").replace("data", "image set")
        about = ast.get_docstring(ast.parse(source)) or ""
        code = source.split('"""', 2)[2].strip()
        parts += [f"## {title.capitalize()}", about, f'```python title="examples/{path.name}"\n{code}\n```']
    return "\n\n".join(parts) + "\n"
