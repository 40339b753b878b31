"""`doctor`, `run` and `notebooks`: the machine, and the course on it."""

import argparse
import sys

from labkit.cli.arguments import Outcome, add_verb
from labkit.system.errors import InputError


def add(verbs) -> None:
    """Add the verbs `doctor`, `run` and `notebooks`.

    Args:
        verbs: the subparsers to add them to.
    """
    add_verb(verbs, "doctor", doctor, "say what this machine has and what to do about each gap")

    p = add_verb(verbs, "run", run, "execute a notebook, or all, headless")
    p.add_argument("notebook", help="a number such as 06, or all")
    p.add_argument("--out", default="runs/notebooks", help="folder for the executed notebooks")
    p.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--full", action="store_true", help="full size instead of FAST")

    text = "copy the course to work with; for authors: build the editions, check them, record their static figures"
    p = add_verb(verbs, "notebooks", notebooks, text)
    p.add_argument("act", choices=("copy", "build", "check", "figures"))
    p.add_argument("numbers", nargs="*", help="notebooks whose figures to record; all by default")
    p.add_argument("--to", default="work", help="folder that takes the copies it lacks")


def doctor(_: argparse.Namespace) -> Outcome:
    """Examine the installation.

    Returns:
        JSON, text, and whether all is well.
    """
    from labkit.cli.doctor import examine, report

    findings = examine()
    value = report(findings)
    return value, "\n".join(map(str, findings)), value["passed"]


def run(arguments: argparse.Namespace) -> Outcome:
    """Run notebooks without a browser.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether all passed.
    """
    from labkit.course import headless
    from labkit.system import storage

    out = storage.writable_folder(arguments.out)
    parameters = dict(_assignment(text) for text in arguments.parameter)
    fast = not arguments.full
    say = (lambda report: print(report, file=sys.stderr, flush=True)) if not arguments.json else None
    if arguments.notebook == "all":
        if parameters:
            raise InputError("`run all` takes no -p: the notebooks have different parameters; run one by number")
        reports = headless.run_all(out, fast=fast, on_report=say)
    else:
        reports = [headless.run(headless.find(arguments.notebook), out, parameters, fast=fast)]
    rows = [
        {
            "notebook": report.notebook,
            "seconds": round(report.seconds, 1),
            "peak_rss_mb": round(report.peak_rss_mb),
            "cells": report.cells,
            "problems": list(report.problems),
            "passed": report.passed,
        }
        for report in reports
    ]
    passed = all(report.passed for report in reports)
    total = sum(report.seconds for report in reports)
    text = "\n".join([*map(str, reports), f"{len(rows)} notebooks, {total:.0f} s, {'passed' if passed else 'FAILED'}"])
    return {"schema": 1, "passed": passed, "seconds": round(total, 1), "notebooks": rows}, text, passed


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"a parameter is NAME=VALUE; got {text!r}")
    return name, value


def notebooks(arguments: argparse.Namespace) -> Outcome:
    """Build, check or redraw the notebooks.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether they agree with their sources.
    """
    from labkit.course import editions, lesson
    from labkit.system import storage

    if arguments.numbers and arguments.act != "figures":
        raise InputError(
            f"`notebooks {arguments.act}` is of all notebooks and takes no numbers; got {arguments.numbers}"
        )
    root = storage.ROOT
    if arguments.act == "copy":
        copies = [str(path) for path in lesson.copy_notebooks(arguments.to)]
        text = f"{len(copies)} notebooks in {arguments.to}; open them with: jupyter lab {arguments.to}"
        return {"schema": 1, "notebooks": copies, "passed": True}, text, True
    if arguments.act == "build":
        written = [str(path.relative_to(root)) for path in editions.build(root)]
        return {"schema": 1, "written": written, "passed": True}, "\n".join(written), True
    if arguments.act == "figures":
        written = [str(path.relative_to(root)) for path in editions.execute_static(root, arguments.numbers)]
        return {"schema": 1, "written": written, "passed": True}, "\n".join(written), True
    problems = [*editions.check(root), *(p for source in editions.sources(root) for p in editions.lint(source))]
    text = "\n".join(problems) or "the notebooks agree with their sources"
    return {"schema": 1, "problems": problems, "passed": not problems}, text, not problems
