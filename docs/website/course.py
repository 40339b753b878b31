"""Pages of the course: the notebooks as they are after a run, and the explorer as a page of its own."""

import base64
import hashlib
import re
from html import escape
from pathlib import Path

import guides
import nbformat
from nbformat import NotebookNode

import labkit as lk
from labkit.course import headless

CELL_S, NOTEBOOK_S = 900, 1800  # limits of a run; nobody waits for a page as a learner waits for a cell
PICTURE = re.compile(r'src="data:image/(png|svg\+xml);base64,([^"]+)"')
EXPLORER = """\
---
hide: [toc]
---

# Drag the frontier

Which network should this device run? Drag the weight of a millisecond, give a target or a deadline, or click a point.
Every network was trained and timed; the numbers are those of [the tabular benchmark](data.md).

<iframe class="lk-explorer" src="explorer-alone.html" title="Explorer of error against latency"></iframe>

The [page alone](explorer-alone.html) works without a network and without this site. Notebook
[06 the frontier](course/06_frontier.md) explains what you see.
"""


def executed(root: Path, path: Path, cache: Path) -> Path:
    """The notebook after a headless run, from `cache` where it ran with this code and data before.

    Raises:
        RuntimeError: the notebook does not run cleanly.
    """
    kept = cache / fingerprint(root, path) / path.name
    if not kept.exists():
        print(f"[docs] running {path.stem}", flush=True)
        report = headless.run(path, kept.parent, cell_timeout=CELL_S, total_timeout=NOTEBOOK_S)
        if not report.passed:
            kept.unlink(missing_ok=True)
            raise RuntimeError(f"{path.name} does not run: {'; '.join(report.problems)}")
    return kept


def fingerprint(root: Path, path: Path) -> str:
    """Of all that the outputs of a notebook follow from: itself, the library and the data."""
    digest = hashlib.sha256()
    sources = [path, *sorted(root.glob("labkit/**/*.py")), *sorted(root.glob("data/**/*"))]
    for file in sources:
        if file.is_file():
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def page(notebook: NotebookNode, name: str, root: Path, out: Path) -> str:
    """A notebook as Markdown. Pictures become files next to the page, outputs become blocks of HTML.

    Args:
        notebook: after a run, or as it ships.
        name: the file's name without its suffix.
        root: the repository.
        out: folder of the site's sources.
    """
    parts = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(guides.relinked(cell.source, f"notebooks/{name}.ipynb", f"course/{name}.md", root, out))
            continue
        hidden = "hide-input" in headless.tags(cell)
        code = f"```python\n{cell.source}\n```"
        if hidden:
            code = f'<details class="lk-code" markdown="1"><summary>Code</summary>\n\n{code}\n\n</details>'
        parts.append(code)
        shown = [html for i, o in enumerate(cell.outputs) if (html := output(o, f"{name}-{number}-{i}", out))]
        if shown:
            file = out.with_name("outputs") / f"{name}-{number}.html"  # the hook puts it into the page
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(shown), encoding="utf-8")
            parts.append(f'<div class="lk-output" data-file="{file.name}"></div>')
    title, *rest = parts
    download = out / "course" / f"{name}.ipynb"
    download.write_text((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"), encoding="utf-8")
    note = (
        f"[Download the notebook]({name}.ipynb){{ .md-button download }}\n\n"
        f"Work through it in JupyterLab: `python lab.py`. Here it is read only, after a run in its short form."
    )
    return "\n\n".join([title, note, *rest]) + "\n"


def output(found: NotebookNode, name: str, out: Path) -> str:
    """One output as HTML; empty for what needs a kernel. Pictures are written to `out`/course/outputs."""
    if found.output_type == "stream":
        return f"<pre>{escape(found.text)}</pre>" if found.name == "stdout" else ""
    if found.output_type == "error":
        return f"<pre>{escape(found.ename)}: {escape(found.evalue)}</pre>"
    if "text/html" in found.data:
        address = lambda picture: f'loading="lazy" src="{written(picture, name, out)}"'
        return PICTURE.sub(address, found.data["text/html"])
    text = found.data.get("text/plain", "")
    return f"<pre>{escape(text)}</pre>" if set(found.data) == {"text/plain"} else ""


def written(picture: re.Match, name: str, out: Path) -> str:
    """Write the picture of a data URL to a file; its address for a page of the course."""
    kind, data = picture.groups()
    content = base64.b64decode(data)
    digest = hashlib.sha256(content).hexdigest()[:8]
    file = out / "course" / "outputs" / f"{name}-{digest}.{'png' if kind == 'png' else 'svg'}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return f"outputs/{file.name}"


def write(root: Path, out: Path, cache: Path | None) -> None:
    """Write a page a notebook, and the explorer, into `out`; `cache` None takes the outputs that ship."""
    (out / "course").mkdir(parents=True, exist_ok=True)
    for path in sorted(root.glob("notebooks/[0-9]*.ipynb")):
        source = path if cache is None else executed(root, path, cache)
        text = page(nbformat.read(source, as_version=4), path.stem, root, out)
        (out / "course" / f"{path.stem}.md").write_text(text, encoding="utf-8")
    explorer(out)


def explorer(out: Path) -> None:
    """The networks of the tabular benchmark as a page that a reader drags, and the page of the site around it."""
    known = lk.benches.tabular.load()
    table = lk.benches.tabular.table_of(known.space, known.latency())
    title = f"All {known.space.size} networks of five layers, trained and timed"
    scene = lk.widgets.explorer.scene_of(known.points(by="table"), table, title)
    lk.widgets.explorer.to_html(scene, out / "explorer-alone.html")
    (out / "explorer.md").write_text(EXPLORER, encoding="utf-8")
