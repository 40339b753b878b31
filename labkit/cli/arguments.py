"""What the verbs share: how one is added, and how what was typed becomes what the library takes."""

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from labkit.system.errors import InputError, meant

Outcome = tuple[dict[str, Any], str, bool]  # JSON, text for people, passed


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"labkit: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as problem:
            raise argparse.ArgumentError(action, f"{problem.message}{meant(value, action.choices or ())}") from None


def begins_anew(_: argparse.Namespace) -> str:
    """What an interrupted verb that keeps nothing says."""
    return "the same command begins anew"


def goes_on(arguments: argparse.Namespace) -> str:
    """What an interrupted verb that keeps in `--out` what it has finished says."""
    if arguments.out is None:
        return "nothing is kept: with --out the same command would go on"
    return f"the same command goes on from what is finished in {arguments.out}"


def add_verb(
    under,
    name: str,
    function: Callable[[argparse.Namespace], Outcome],
    text: str,
    *,
    stopped: Callable[[argparse.Namespace], str] = begins_anew,
) -> argparse.ArgumentParser:
    """A parser of the verb's own arguments, to which they are added; `function` is called with what was typed.

    `stopped` says, when it was interrupted, what the same command would do.
    """
    added = under.add_parser(name, help=text, description=text)
    added.set_defaults(verb=function, stopped=stopped)
    added.add_argument("--json", action="store_true", help="print JSON")
    added.add_argument(
        "--op", action="append", default=[], metavar="MODULE", help="import a module that registers parts of your own"
    )
    return added


def add_acts(under, name: str, text: str):
    """What the acts of a verb of several are added to."""
    return under.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="ACT")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", default="five_layer", help="a name, or MODULE:FUNCTION of your own")
    parser.add_argument("--data", default="glyphs", help="a name, folder:PATH, or MODULE:FUNCTION of your own")
    parser.add_argument("--table", help="latency table: a file, a shipped name, or `measure` for this machine, now")
    parser.add_argument("--seed", type=int, default=0)
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument("--fast", action="store_true", help="shortened: seconds, and a worse answer")
    recipe.add_argument("--published", choices=("cifar", "imagenet"), help="the settings of the published runs")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch the image set")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", help="any setting of SearchConfig"
    )


def search_config(arguments: argparse.Namespace, **own: Any):
    """The recipe of the space or the published one, then the verb's own arguments, then `--set`."""
    from labkit.oneshot.config import SearchConfig

    changes = dict(_setting(text) for text in arguments.settings)
    for name in ("seed", *own):
        if name in changes:
            raise InputError(f"{name} has an option of its own: give --{name.replace('_', '-')} in place of --set")
    changes |= own
    if arguments.published:
        return SearchConfig.published(arguments.published, **changes)
    return SearchConfig.preset(arguments.space, fast=arguments.fast, **changes)


def _setting(text: str) -> tuple[str, Any]:
    """A field of SearchConfig and its value, of the field's own type; `none` where it may have none."""
    from typing import get_args, get_type_hints

    from labkit.oneshot.config import SearchConfig

    name, equals, value = text.partition("=")
    hints = get_type_hints(SearchConfig)
    if not equals or name not in hints:
        raise InputError(f"--set takes NAME=VALUE of {', '.join(hints)}; got {text!r}{meant(name, hints)}")
    kinds = get_args(hints[name]) or (hints[name],)
    if value == "none" and type(None) in kinds:
        return name, None
    try:
        return name, kinds[0](value)
    except ValueError:
        raise InputError(f"{name} is of type {kinds[0].__name__}; got {value!r}") from None


def space_data_table(arguments: argparse.Namespace):
    """The three things that every search starts from. What can be refused at once is refused first."""
    from labkit import data, spaces
    from labkit.latency.table import LatencyTable, shipped_tables
    from labkit.system import storage

    spaces.by_name(arguments.space)
    if not 0 <= arguments.seed < 2**63:
        raise InputError(f"--seed is a whole number from 0 to 2^63 - 1; got {arguments.seed}")
    chosen = None if arguments.table in (None, "measure") else LatencyTable.load(arguments.table)
    images = data.by_name(arguments.data, seed=arguments.seed, download=arguments.download, small=arguments.fast)
    space = spaces.by_name(arguments.space, len(images.classes))
    if chosen is None and arguments.table is None:  # a recorded table: the same seed gives the same architecture
        name = storage.find_for_device(shipped_tables(), f"{space.name}-torch-b1")
        recorded = name and LatencyTable.load(name)
        chosen = recorded if recorded and recorded.space_digest == space.digest else None
    if chosen is None:
        print(f"measuring a latency table of {space.name} on this machine", file=sys.stderr)
        chosen = LatencyTable.measure(space)
    chosen.check(space)
    return space, images, chosen


def usable_device(arguments: argparse.Namespace) -> str:
    """The device asked for, when torch can use it here."""
    import torch

    if arguments.device not in ("cpu", "cuda"):
        raise InputError(f"a device is cpu or cuda; got {arguments.device!r}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs an NVIDIA GPU that torch can use: see python -m labkit doctor")
    return arguments.device


def check_timing(arguments: argparse.Namespace) -> None:
    if arguments.rounds < 2:
        raise InputError(f"timing takes at least 2 rounds; got {arguments.rounds}")
    check_seconds(arguments.seconds)


def check_seconds(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds is a finite number above 0; got {seconds:g}")


def batch_sizes(arguments: argparse.Namespace) -> list[int]:
    """What was asked for as `--batch-sizes`: whole numbers, at least one."""
    sizes = words(arguments.batch_sizes)
    if not sizes or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise InputError(f"--batch-sizes is numbers of images, such as 1,64; got {arguments.batch_sizes!r}")
    return list(map(int, sizes))


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} is numbers with commas between, such as 0,0.1,0.4; got {text!r}") from None


def on_terminal() -> bool:
    return sys.stderr.isatty()
