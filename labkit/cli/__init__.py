"""The command line: `python -m labkit VERB`. A wrong request prints one line and exits with 2.

Each module holds some verbs, next to their arguments. A verb imports the heavy modules of the library itself.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from labkit.cli import baselines, benches, course, deploying, latency, searching, tabular
from labkit.cli.arguments import Parser
from labkit.system.errors import InputError
from labkit.system.interrupts import Stopped, termination_interrupts
from labkit.system.registry import import_parts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; those of the process by default.

    Returns:
        The exit code: 0 passed, 1 not passed, 2 a wrong request, 128 + signal after an interrupt.
    """
    arguments = _parser().parse_args(argv)
    with termination_interrupts() as terminated:
        try:
            _check_paths(arguments)
            _import_own(arguments.op)
            value, text, passed = arguments.verb(arguments)
        except InputError as problem:
            print(f"labkit: {problem}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            came = stop.progress if isinstance(stop, Stopped) else "stopped"
            print(f"labkit: {came}; {arguments.stopped(arguments)}", file=sys.stderr)
            return 128 + (signal.SIGTERM if terminated() else signal.SIGINT)
    _say(json.dumps(value, indent=1, allow_nan=False) if arguments.json else text)
    return 0 if passed else 1


def _check_paths(arguments: argparse.Namespace) -> None:
    """An empty path would be the working folder, or nothing at all."""
    for name in ("out", "run", "run_folder", "report", "tabular", "table", "picture"):
        if getattr(arguments, name, None) == "":
            raise InputError(f"{name} is empty: name a file or a folder, as `--help` has it")


def _import_own(modules: Sequence[str]) -> None:
    """Import modules that register a reader's own parts; those of the working folder are found."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for module in modules:
        import_parts(module)


def _say(text: str) -> None:
    """Print, whatever the terminal can spell; a reader that has seen enough is no fault."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes again at its end


def _parser() -> Parser:
    parser = Parser(prog="python -m labkit", description="Hardware-aware neural architecture search.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for module in (course, searching, latency, deploying, baselines, tabular, benches):
        module.add(verbs)
    return parser
