"""Build labkit's site into site/: `python docs/website`, which `python lab.py docs` runs. No network is needed.

Sources are put together in a temporary folder, MkDocs makes pages of them, and every link is followed. A warning is an
error.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import course
import guides
import links
import reference
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNS = ROOT / "build" / "docs" / "notebooks"  # after a run, kept for the next site


def main(argv: list[str] | None = None) -> int:
    """Build the site; 1 where it has a fault."""
    parser = argparse.ArgumentParser(prog="python lab.py docs", description="Build the site into site/.")
    parser.add_argument("--shipped", action="store_true", help="take the figures that ship; run no notebook")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the pages")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="[docs] %(levelname)s %(message)s")
    with tempfile.TemporaryDirectory(prefix="labkit-docs-") as scratch:
        sources = Path(scratch, "sources")
        write_sources(sources, None if arguments.shipped else RUNS)
        try:
            build(configuration(sources, arguments.out.resolve(), navigation(sources)))
        except Abort as stop:
            print(f"[docs] {stop}", file=sys.stderr)
            return 1
    found = links.problems(arguments.out)
    print("\n".join(found), file=sys.stderr)
    pages = len([*arguments.out.rglob("*.html")])
    print(f"[docs] {pages} pages, {len(found)} broken links: {arguments.out / 'index.html'}")
    return 1 if found else 0


def write_sources(out: Path, cache: Path | None) -> None:
    """Put the sources of all pages into `out`, a new folder; notebooks that ran are kept in `cache`."""
    shutil.copytree(HERE / "assets", out / "assets")
    course.write(ROOT, out, cache)
    guides.write(ROOT, out)
    for page, text in reference.pages(ROOT).items():
        (out / page).parent.mkdir(exist_ok=True)
        (out / page).write_text(text, encoding="utf-8")


def configuration(sources: Path, out: Path, menu: list):
    """MkDocs' configuration for the pages in `sources`."""
    given = yaml.safe_load((HERE / "mkdocs.yml").read_text(encoding="utf-8"))
    (python,) = (p["mkdocstrings"]["handlers"]["python"] for p in given["plugins"] if "mkdocstrings" in p)
    python["paths"] = [str(ROOT)]
    python["options"]["extensions"] = [str(HERE / "comments.py")]
    options = {"docs_dir": str(sources), "site_dir": str(out), "plugins": given["plugins"], "nav": menu}
    return load_config(str(HERE / "mkdocs.yml"), **options)


def navigation(sources: Path) -> list:
    """The site's menu: home, course, guides, reference, changelog."""
    guides = ["results.md", "glossary.md", "examples.md", "data.md", "contributing.md", "security.md"]
    lessons = [f"course/{path.name}" for path in sorted((sources / "course").glob("*.md"))]
    return [
        {"Home": "index.md"},
        {"Course": [*lessons, {"Explorer": "explorer.md"}]},
        {"Guides": [page for page in guides if (sources / page).exists()]},
        {"API": reference.navigation()},
        {"Changelog": "changelog.md"},
    ]


if __name__ == "__main__":
    sys.exit(main())
