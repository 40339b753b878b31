"""The site: its links are checked, its pages hold what they are made from, and the build refuses what is wrong."""

import importlib.util
import logging
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

import labkit as lk
from labkit.course import headless
from labkit.course.headless import running

ROOT = Path(__file__).resolve().parent.parent
WEBSITE = ROOT / "docs" / "website"
MODULES = ("comments", "course", "guides", "hooks", "links", "reference")
WITHOUT = "the extra `docs` is not installed: python lab.py docs installs it"


@pytest.fixture
def website(monkeypatch):
    """A function: the name of a module of docs/website -> the module, which no other test sees."""
    monkeypatch.syspath_prepend(WEBSITE)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


# --- links --------------------------------------------------------------------------------------------------

GOOD = '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="#top">up</a><a href="https://example.org">out</a>'
FAULTS = {
    '<a href="c.html">': "a.html: c.html leads to no file",
    '<a href="b.html#nowhere">': "a.html: b.html#nowhere leads to no anchor",
    '<a href="#nowhere">': "a.html: #nowhere leads to no anchor",
    '<a href="/b.html">': "a.html: /b.html is absolute, so the site could not be moved",
    '<a href="../outside.html">': "a.html: ../outside.html leads to no file",
    '<img src="missing.png">': "a.html: missing.png leads to no file",
    '<img src="https://example.org/a.png">': "a.html: fetches https://example.org/a.png",
    '<script src="//cdn.example/x.js"></script>': "a.html: fetches //cdn.example/x.js",
    '<link rel="stylesheet" href="http://fonts.example/css">': "a.html: fetches http://fonts.example/css",
    '<div style="background: url(http://a.example/b)">': "a.html: fetches http://a.example/b",
    '<style>@import "http://a.example/c";</style>': "a.html: fetches http://a.example/c",
}


def two_pages(folder, extra=""):
    (folder / "site").mkdir(exist_ok=True)
    (folder / "outside.html").write_text("outside")
    (folder / "site" / "a.html").write_text(GOOD + extra)
    (folder / "site" / "b.html").write_text('<p id="there">there</p>')
    return folder / "site"


def test_good_links_are_passed(website, tmp_path):
    assert website("links").problems(two_pages(tmp_path)) == []


@pytest.mark.parametrize("markup", FAULTS)
def test_every_kind_of_broken_link_is_named(website, tmp_path, markup):
    assert website("links").problems(two_pages(tmp_path, markup)) == [FAULTS[markup]]


def test_a_style_sheet_that_fetches_is_named(website, tmp_path):
    site = two_pages(tmp_path)
    (site / "look.css").write_text("a { background: url('a.png') } @import 'https://fonts.example/css';")
    assert website("links").problems(site) == ["look.css: fetches https://fonts.example/css"]


def test_a_folder_without_pages_is_refused(website, tmp_path):
    with pytest.raises(ValueError, match="expected pages"):
        website("links").problems(tmp_path)


# --- sources of pages ---------------------------------------------------------------------------------------


def test_links_between_files_become_links_between_pages(website, tmp_path):
    guides = website("guides")
    text = "[r](docs/results.md#a) [w](https://example.org) [l](LICENSE) `ops[k](x)`\n\n```\n[no](one)\n```\n"
    found = guides.relinked(text, "README.md", "index.md", ROOT, tmp_path)
    assert found == text.replace("docs/results.md", "results.md").replace("(LICENSE)", "(files/LICENSE)")
    assert (tmp_path / "files" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    places = "notebooks/00_start_here.ipynb", "course/00_start_here.md", ROOT, tmp_path
    assert guides.relinked("[b](01_search_spaces.ipynb)", *places) == "[b](01_search_spaces.md)"
    with pytest.raises(ValueError, match=r"README\.md links to gone\.md, which is no page"):
        guides.relinked("[gone](gone.md)", "README.md", "index.md", ROOT, tmp_path)


def test_every_example_is_shown_with_its_source(website):
    page = website("guides").examples(ROOT)
    for path in (ROOT / "examples").glob("*.py"):
        assert f'title="examples/{path.name}"' in page
        assert path.read_text(encoding="utf-8").rstrip().splitlines()[-1] in page


def notebook(*outputs):
    cells = [
        nbformat.v4.new_markdown_cell("# 00. Title"),
        nbformat.v4.new_code_cell("1 + 1", outputs=list(outputs)),
        nbformat.v4.new_code_cell("hidden", metadata={"tags": ["hide-input"]}),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def outputs_of(website, tmp_path, *outputs):
    """The page of a notebook with these outputs, and the HTML that stands for them."""
    out = tmp_path / "sources"
    (out / "course").mkdir(parents=True)
    page = website("course").page(notebook(*outputs), "00_start_here", ROOT, out)
    files = sorted((tmp_path / "outputs").glob("*.html")) if (tmp_path / "outputs").exists() else []
    return page, "".join(path.read_text(encoding="utf-8") for path in files)


def test_a_notebook_keeps_its_text_code_and_outputs(website, tmp_path):
    stream = nbformat.v4.new_output("stream", name="stdout", text="two < 3\n")
    picture = {"text/html": '<img alt="a" src="data:image/png;base64,AAEC">', "text/plain": "Picture"}
    shown = nbformat.v4.new_output("execute_result", picture, execution_count=1)
    page, html = outputs_of(website, tmp_path, stream, shown)
    assert page.index("# 00. Title") < page.index("```python\n1 + 1\n```") < page.index('class="lk-output"')
    assert "<summary>Code</summary>\n\n```python\nhidden\n```" in page
    assert "<pre>two &lt; 3\n</pre>" in html and "Picture" not in html
    (address,) = re.findall(r'src="(outputs/[^"]+\.png)"', html)
    assert (tmp_path / "sources" / "course" / address).read_bytes() == bytes([0, 1, 2])


def test_what_needs_a_kernel_or_is_a_warning_leaves_no_output(website, tmp_path):
    warned = nbformat.v4.new_output("stream", name="stderr", text="warning")
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Explorer()"}
    page, html = outputs_of(website, tmp_path, warned, nbformat.v4.new_output("display_data", widget))
    assert "lk-output" not in page and html == ""


def test_a_notebook_runs_again_when_what_it_follows_from_changes(website, tmp_path):
    for folder in ("labkit", "data", "notebooks"):
        (tmp_path / folder).mkdir()
    files = [tmp_path / "notebooks" / "a.ipynb", tmp_path / "labkit" / "a.py", tmp_path / "data" / "a.json"]
    for file in files:
        file.write_text("before")
    print_of = lambda: website("course").fingerprint(tmp_path, files[0])
    seen = [print_of()]
    assert print_of() == seen[0]
    for file in files:
        file.write_text("after")
        seen.append(print_of())
    assert len(set(seen)) == 4


def test_a_notebook_that_fails_makes_no_page(website, tmp_path, monkeypatch):
    course = website("course")
    report = running.RunReport("00", 1.0, 1.0, 1, ("cell 1: no",))
    monkeypatch.setattr(course.headless, "run", lambda *_, **__: report)
    with pytest.raises(RuntimeError, match=r"00_start_here\.ipynb does not run: cell 1: no"):
        course.executed(ROOT, ROOT / "notebooks" / "00_start_here.ipynb", tmp_path)


# --- reading the library ------------------------------------------------------------------------------------

SOURCE = '''
"""A module."""
A, B = 1, (2, 3)
COUNT = 4  # how many
BOTH = {
    "a": 1,  # the first
    "b": 2,  # the second
}
class Point:
    """A point."""
    x: float  # across
    y: float
class Said:
    """Says it itself.

    Attributes:
        x: in full.
    """
    x: float  # in short
def f(a, b, c):
    """Act.

    Args:
        a, b: two of them,
            on two lines.
        c: another.
    """
'''


@pytest.fixture
def read(website, tmp_path):
    griffe = pytest.importorskip("griffe", reason=WITHOUT)
    (tmp_path / "sample.py").write_text(SOURCE)
    extensions = griffe.load_extensions(str(WEBSITE / "comments.py"))
    return griffe.load("sample", search_paths=[tmp_path], extensions=extensions, docstring_parser="google")


def test_values_set_in_pairs_and_comments_are_read(read):
    assert (str(read["A"].value), str(read["B"].value)) == ("1", "(2, 3)")
    assert read["COUNT"].docstring.value == "How many" and read["BOTH"].docstring is None
    assert read["Point"].docstring.value == "A point.\n\nAttributes:\n    x: across"
    assert "in short" not in read["Said"].docstring.value


def test_arguments_described_together_are_described_each(read):
    (arguments,) = [part.value for part in read["f"].docstring.parsed if part.kind.value == "parameters"]
    both = "two of them,\non two lines."
    assert [(a.name, a.description) for a in arguments] == [("a", both), ("b", both), ("c", "another.")]


def test_every_package_is_in_a_group_once(website):
    pytest.importorskip("griffe", reason=WITHOUT)
    reference = website("reference")
    grouped = [name for names in reference.GROUPS.values() for name in names]
    assert sorted(grouped) == reference.packages(ROOT)


def test_a_formula_becomes_mathml_and_an_unknown_command_is_refused(website):
    pytest.importorskip("latex2mathml", reason=WITHOUT)
    formula = website("hooks").FORMULA.sub
    mathml = website("hooks").mathml
    found = formula(mathml, r'<p><span class="arithmatex">\(p_\alpha &lt; \arg\max h\)</span></p>')
    assert found.startswith('<p><math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">')
    assert "<msub>" in found and "&#x003B1;" in found and "arg" in found and "\\" not in found
    with pytest.raises(ValueError, match="not understood"):
        formula(mathml, r'<div class="arithmatex">\[\unknowncommand x\]</div>')


# --- the whole site -----------------------------------------------------------------------------------------


def public_names():
    """Public names by package, as Python has them: an oracle that reads no source."""
    names = {}
    for package in (name for name in lk.__all__ if name.islower() and hasattr(getattr(lk, name), "__path__")):
        module = getattr(lk, package)
        things = {name: getattr(module, name) for name in module.__all__}
        names[package] = [
            f"labkit.{package}.{name}" for name, value in things.items() if not isinstance(value, ModuleType)
        ]
    return names


HEADING = re.compile(r'<h\d id="([\w.]+)" class="doc doc-heading">\s*<code[^>]*doc-symbol-(\w+)"')
ANCHOR = re.compile(r'<a id="([\w.]+)"></a></p>\s*<div class="doc doc-object[^>]*>\s*<h\d id="([\w.]+)"')


def undocumented(site, names):
    """Those of `names` (package -> paths) that no heading of a class, function or value on their page stands for."""
    missing = []
    for package, paths in names.items():
        html = (site / "api" / f"{package}.html").read_text(encoding="utf-8")
        kinds = dict(HEADING.findall(html))
        kinds |= {path: kinds.get(heading) for path, heading in ANCHOR.findall(html)}
        missing += [path for path in paths if kinds.get(path) not in ("class", "function", "attribute")]
    return missing


def test_every_public_name_is_documented_where_it_is_imported_from(site):
    names = public_names()
    assert len(names) >= 14 and sum(map(len, names.values())) > 200
    assert undocumented(site, names) == []
    absent = ["labkit.spaces.absent", "labkit.networks.complexity"]
    assert undocumented(site, {"networks": absent}) == absent


def test_every_notebook_is_a_page_with_its_figures(site):
    for path in headless.notebooks():
        html = (site / "course" / f"{path.stem}.html").read_text(encoding="utf-8")
        cells = nbformat.read(path, as_version=4).cells
        kept = [output for cell in cells for output in cell.get("outputs", ())]
        assert html.count('<div class="lk-output">') == sum(bool(cell.get("outputs")) for cell in cells) > 0
        pictures = sum("<img" in output.get("data", {}).get("text/html", "") for output in kept)
        assert html.count('src="outputs/') == pictures > 0
        assert (site / "course" / path.name).read_bytes() == path.read_bytes()


def unread(site):
    """Paragraphs in which Markdown or a formula was left as it is typed."""
    signs = re.compile(r"\$[^$<]+\$|^\s*[-*] |\n[-*] |\n\||\]\(|\*\*[^*\s][^*]*\*\*", re.MULTILINE)
    found = []
    for page in sorted(site.rglob("*.html")):
        for text in re.findall(r"<p>(.*?)</p>", page.read_text(encoding="utf-8"), re.DOTALL):
            plain = re.sub(r"<(code|math)\b.*?</\1>", "", text, flags=re.DOTALL)
            if signs.search(plain):
                found.append((page.name, plain[:80]))
    return found


def test_no_page_shows_markdown_as_it_is_typed(site, tmp_path):
    assert unread(site) == []
    for planted in ("<p>- one</p>", "<p>a $x$ b</p>", "<p>see [a](b)</p>", "<p>text\n- one</p>"):
        (tmp_path / "a.html").write_text(planted)
        assert unread(tmp_path), planted


def test_every_page_can_be_reached_from_the_first(site, website):
    links = website("links")
    start = site / "index.html"
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for link in links.read(page).links:
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".html" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    assert {path.resolve() for path in site.rglob("*.html")} == {path.resolve() for path in seen}


@pytest.mark.parametrize(
    "text, refused",
    [("[A](#a)", False), ("[b](b.md)", True), ("[b](#b)", True), ("::: labkit.nothing", True)],
)
def test_a_warning_ends_the_build(website, tmp_path, text, refused):
    refusals = pytest.importorskip("mkdocs.exceptions", reason=WITHOUT)
    command = _loaded_main()
    sources = tmp_path / "sources"
    (sources / "assets").mkdir(parents=True)
    for asset in (WEBSITE / "assets").iterdir():
        (sources / "assets" / asset.name).write_bytes(asset.read_bytes())
    (sources / "index.md").write_text(f"# A\n\n{text}\n")
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
    configuration = command.configuration(sources, tmp_path / "site", [{"Home": "index.md"}])
    if not refused:
        return command.build(configuration)
    with pytest.raises((refusals.Abort, refusals.BuildError)):
        command.build(configuration)


def _loaded_main():
    spec = importlib.util.spec_from_file_location("website_main", WEBSITE / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
