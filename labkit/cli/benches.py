"""`bench`: one generic verb for all benches. The options are the fields of the bench."""

from __future__ import annotations

import argparse
import importlib
import sys
import typing
from dataclasses import dataclass, field
from typing import Any

from labkit.cli.arguments import (
    Outcome,
    Parser,
    add_verb,
    check_seconds,
    on_terminal,
    resumes,
    starts_over,
    usable_device,
)
from labkit.cli.records import provenance
from labkit.system.errors import InputError

# Name -> (module, class, help). The module is imported when its bench is asked for.
BENCHES = {
    "estimators": ("labkit.benches.estimators", "EstimatorBench", "compare every estimator with the exact gradient"),
    "supernet": ("labkit.benches.supernet", "SupernetBench", "compare the ranking of shared weights with training"),
    "step": ("labkit.benches.step", "StepBench", "compare a step of the search with the same one written obviously"),
    "sweep": ("labkit.benches.sweep", "SweepBench", "compare one sweep of latency weights with a search for each"),
    "deploy": ("labkit.cli.bench_runs", "DeployRun", "time a run's network in all that can run it here"),
    "engines": ("labkit.cli.bench_runs", "EnginesOfRuns", "build TensorRT engines in each precision"),
    "deadlines": ("labkit.benches.deadlines", "DeadlineBench", "compare a hard deadline, the hinge and a sweep"),
    "ops": ("labkit.benches.ops", "OpsBench", "time the operations of a space in several runtimes"),
    "optimize": ("labkit.benches.optimize", "OptimizeBench", "compare black-box search with its baselines"),
    "ranking": ("labkit.benches.ranking", "RankingBench", "compare cheap ways to rank networks with full training"),
}
RESUME = ("estimators", "supernet", "sweep", "deadlines", "optimize", "ranking")


def add(verbs) -> None:
    """Add the verb `bench`.

    Args:
        verbs: the subparsers to add it to.
    """
    text = "comparisons, each in one run"
    parser = verbs.add_parser("bench", help=text, description=text)
    acts = parser.add_subparsers(required=True, metavar="ACT", parser_class=_BenchParser)
    for name, (_, _, text) in BENCHES.items():
        added = add_verb(acts, name, bench, text, stopped=resumes if name in RESUME else starts_over)
        added.set_defaults(bench=name)
        assert isinstance(added, _BenchParser)  # as `parser_class` has it
        added.bench = name


def _class(name: str) -> Any:
    module, attribute, _ = BENCHES[name]
    return getattr(importlib.import_module(module), attribute)


class _BenchParser(Parser):
    """Adds the options of its bench when it is first asked to parse, so that only then its module is imported."""

    bench: str | None = None

    def parse_known_args(self, args=None, namespace=None):
        if self.bench is not None:
            name, self.bench = self.bench, None
            _add_options(self, name)
        return super().parse_known_args(args, namespace)


@dataclass(frozen=True)
class _Option:
    """An option of a bench: its field, and the type of what is typed."""

    name: str
    kind: type
    many: bool
    default: Any
    metadata: Any = field(compare=False)

    @property
    def typed(self) -> str:
        """The option as it is typed."""
        return f"--{self.name.replace('_', '-')}"

    def value(self, typed: Any) -> Any:
        """What was typed as the field has it."""
        if not self.many or not isinstance(typed, str):
            return tuple(typed) if self.many else typed
        try:
            parts = [part.strip() for part in typed.split(self.metadata.get("separator", ","))]
            return tuple(self.kind(part) for part in parts if part)
        except ValueError:
            what = "whole numbers" if self.kind is int else "numbers"
            raise InputError(f"{self.typed} is {what} with commas between, such as 1,4; got {typed!r}") from None


def _options(name: str) -> list[_Option]:
    from labkit.benches.record import options

    bench, found = _class(name), []
    hints = typing.get_type_hints(bench)
    for one in options(bench):
        many = typing.get_origin(hints[one.name]) is tuple
        kind = next(iter(typing.get_args(hints[one.name])), hints[one.name])
        found.append(_Option(one.name, kind, many, one.default, one.metadata))
    return found


def _add_options(parser: argparse.ArgumentParser, name: str) -> None:
    for one in _options(name):
        says, metavar = one.metadata["says"], one.metadata.get("metavar")
        if one.metadata.get("positional"):
            parser.add_argument(one.name, nargs="*" if one.many else None, metavar=metavar, help=says)
        elif one.kind is bool:
            parser.add_argument(one.typed, action="store_true", help=says)
        elif one.metadata.get("several"):
            parser.add_argument(one.typed, type=one.kind, nargs="*", default=[], metavar=metavar, help=says)
        elif one.many:
            parser.add_argument(one.typed, help=f"{says}; {','.join(map(str, one.default))} by default".rstrip("; "))
        else:
            parser.add_argument(one.typed, type=one.kind, default=one.default, metavar=metavar, help=says)
    parser.add_argument(
        "--out", help="file of the results, JSON" + "; a bench that was stopped resumes" * (name in RESUME)
    )


def bench(arguments: argparse.Namespace) -> Outcome:
    """Run a bench, with a progress bar on a terminal or a line a row.

    Args:
        arguments: What was typed.

    Returns:
        JSON, text, and whether every verdict holds.

    Raises:
        InputError: An option is not what the bench takes.
    """
    from tqdm.auto import tqdm

    from labkit.benches.record import record

    given = {
        one.name: one.value(x) for one in _options(arguments.bench) if (x := getattr(arguments, one.name)) is not None
    }
    if "seconds" in given:
        check_seconds(given["seconds"])
    if "device" in given:
        usable_device(arguments)
    if any(size < 1 for size in given.get("batch_sizes", ())) or given.get("batch_sizes") == ():
        raise InputError(f"--batch-sizes is numbers of images, such as 1,64; got {arguments.batch_sizes!r}")
    asked = _class(arguments.bench)(**given)
    total = asked.total()
    with tqdm(total=total, disable=total is None or not on_terminal(), desc="bench") as bar:

        def on_row(row: Any) -> None:
            bar.update()
            if total is None:
                print(asked.line(row), file=sys.stderr, flush=True)

        outcome = record(asked, arguments.out, made=provenance(asked.device_used()), on_start=bar.update, on_row=on_row)
    return outcome.value, outcome.text, outcome.passed
