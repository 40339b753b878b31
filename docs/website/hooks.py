"""What MkDocs calls while it builds: outputs of notebooks are put in, formulas become MathML."""

import re
from html import unescape
from pathlib import Path

import latex2mathml.converter

OUTPUT = re.compile(r'<div class="lk-output" data-file="([^"]+)"></div>')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_pre_build(config, **_) -> None:
    """Leave out the page of a server for what is not found: its addresses are absolute."""
    config.theme.static_templates.discard("404.html")


def on_page_content(html: str, config, **_) -> str:
    """The page's HTML after Markdown."""
    outputs = Path(config["docs_dir"]).with_name("outputs")
    html = FORMULA.sub(mathml, html).replace('<a href="" id=', "<a id=")  # an anchor is no link
    text = lambda hole: (outputs / hole[1]).read_text(encoding="utf-8")
    return OUTPUT.sub(lambda hole: f'<div class="lk-output">{text(hole)}</div>', html)


def mathml(formula: re.Match) -> str:
    """A formula as MathML, which browsers draw without a script."""
    _, bracket, latex = formula.groups()
    display = "block" if bracket == "[" else "inline"
    text = unescape(latex).strip().replace(r"\arg", r"\operatorname{arg}")
    found = latex2mathml.converter.convert(text, display=display)
    if "\\" in found:
        raise ValueError(f"this formula holds a command that is not understood; write it otherwise: {latex.strip()}")
    return found
