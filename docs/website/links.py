"""Every link of a built site leads somewhere, and no page asks another machine for anything."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESS = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@dataclass
class Page:
    """What links need to know of a page.

    Attributes:
        anchors: ids and names that a fragment may name.
        links: addresses that a reader may follow.
        loads: addresses that a browser fetches by itself.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page, self.in_style = Page(), False

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        self.page.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag in LOADS and given.get(LOADS[tag]):
            self.page.loads.append(given[LOADS[tag]])
        self.page.loads += addresses(given.get("style", ""))

    def handle_data(self, data):
        if self.in_style:
            self.page.loads += addresses(data)


def addresses(css: str) -> list[str]:
    """What a style sheet fetches."""
    return [first or second for first, second in ADDRESS.findall(css)]


def read(path: Path) -> Page:
    """The anchors, links and loads of an HTML file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def problems(site: Path) -> list[str]:
    """One line a link that leads nowhere or a fetch from another machine; empty for a good site.

    Raises:
        ValueError: the folder has no page.
    """
    pages = {path: read(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        raise ValueError(f"expected pages in {site}, found none: build the site first")
    found = []
    for path, page in pages.items():
        place = path.relative_to(site).as_posix()
        found += [f"{place}: {fault}" for link in page.links if (fault := broken(link, path, site, pages))]
        for load in page.loads:
            fault = f"fetches {load}" if is_foreign(load) else broken(load, path, site, pages)
            found += [f"{place}: {fault}"] * bool(fault)
    for sheet in sorted(site.rglob("*.css")):
        foreign = [load for load in addresses(sheet.read_text(encoding="utf-8")) if is_foreign(load)]
        found += [f"{sheet.relative_to(site).as_posix()}: fetches {load}" for load in foreign]
    return found


def is_foreign(address: str) -> bool:
    """Whether an address is on another machine."""
    return bool(urlsplit(address).netloc)


def broken(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> str:
    """What is wrong with a link of the page at `path`; empty for a good one or one that leaves the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    if parts.path.startswith("/"):
        return f"{link} is absolute, so the site could not be moved"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(site.resolve()):
        return f"{link} leads to no file"
    fragment = unquote(parts.fragment)
    if fragment and target in pages and fragment not in pages[target].anchors:
        return f"{link} leads to no anchor"
    return ""
