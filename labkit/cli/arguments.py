"""What the verbs share: how to add one, and how to read arguments."""

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from labkit.system.errors import InputError, meant

Outcome = tuple[dict[str, Any], str, bool]  # JSON, text for people, passed


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with a suggestion where a word is misspelt."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2.

        Args:
            message: what is wrong.
        """
        print(f"labkit: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as problem:
            raise argparse.ArgumentError(action, f"{problem.message}{meant(value, action.choices or ())}") from None


def starts_over(_: argparse.Namespace) -> str:
    """The message of an interrupted verb that saves nothing.

    Returns:
        What the same command does.
    """
    return "the same command starts over"


def resumes(arguments: argparse.Namespace) -> str:
    """The message of an interrupted verb that saves finished rows in `--out`.

    Args:
        arguments: of the verb.

    Returns:
        What the same command does.
    """
    if arguments.out is None:
        return "nothing is kept: with --out the same command would resume"
    return f"the same command resumes from what is finished in {arguments.out}"


def add_verb(
    under,
    name: str,
    function: Callable[[argparse.Namespace], Outcome],
    text: str,
    *,
    stopped: Callable[[argparse.Namespace], str] = starts_over,
) -> argparse.ArgumentParser:
    """Add a verb.

    Args:
        under: the subparsers to add it to.
        name: of the verb.
        function: called with the arguments.
        text: help text.
        stopped: gives the message after an interrupt: what the same command does.

    Returns:
        The parser of the verb, for its arguments.
    """
    added = under.add_parser(name, help=text, description=text)
    added.set_defaults(verb=function, stopped=stopped)
    added.add_argument("--json", action="store_true", help="print JSON")
    added.add_argument(
        "--op", action="append", default=[], metavar="MODULE", help="import a module that registers parts of your own"
    )
    return added


def add_acts(under, name: str, text: str):
    """Add a verb that has several acts, such as `latency build`.

    Args:
        under: the subparsers to add it to.
        name: of the verb.
        text: help text.

    Returns:
        The subparsers of the acts.
    """
    return under.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="ACT")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all searches share.

    Args:
        parser: of the verb.
    """
    parser.add_argument("--space", default="five_layer", help="a name, or MODULE:FUNCTION of your own")
    parser.add_argument("--data", default="glyphs", help="a name, folder:PATH, or MODULE:FUNCTION of your own")
    add_picture_arguments(parser)
    parser.add_argument("--table", help="latency table: a file, a shipped name, or `measure` for this machine, now")
    text = "correct the table by networks timed whole: by REPORT, or by the one that `latency build` wrote with it"
    parser.add_argument("--predictor", nargs="?", const="", metavar="REPORT", help=text)
    parser.add_argument("--seed", type=int, default=0)
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument("--fast", action="store_true", help="shortened: seconds, and a worse answer")
    recipe.add_argument("--published", choices=("cifar", "imagenet"), help="the settings of the published runs")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch the image set")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", help="any setting of SearchConfig"
    )


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how the pictures of `folder:PATH` are read.

    Args:
        parser: of the verb.
    """
    text = "channels, height and width, such as 3,96,128, of a folder's pictures and of the space; else the space's own"
    parser.add_argument("--image", help=text)
    parser.add_argument("--resize", help="of a folder's pictures: crop, stretch or pad")
    parser.add_argument("--augment", help="of a folder's pictures in training: crop_and_flip, crop, flip or none")
    parser.add_argument("--limit", type=int, help="of a folder: at most so many pictures of each class and part")
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")


def image_of(arguments: argparse.Namespace) -> tuple[int, int, int] | None:
    """Read `--image`.

    Args:
        arguments: of the verb.

    Returns:
        Channels, height and width in pixels; None where it was not given.

    Raises:
        InputError: it is not three whole numbers.
    """
    if arguments.image is None:
        return None
    numbers = arguments.image.replace("x", ",").split(",")
    if len(numbers) != 3 or not all(number.strip().isascii() and number.strip().isdecimal() for number in numbers):
        raise InputError(f"--image is channels, height and width, such as 3,96,128; got {arguments.image!r}")
    channels, height, width = map(int, numbers)
    return channels, height, width


def _pictures(arguments: argparse.Namespace, space_image: tuple[int, int, int]) -> dict[str, Any]:
    """Options of `data.folder` that were given, and the size of the space."""
    from labkit.data.registry import FOLDER

    named = {"resize": arguments.resize, "augment": arguments.augment, "limit": arguments.limit}
    given = {name: value for name, value in named.items() if value is not None}
    given |= {"skip_bad": True} if arguments.skip_bad else {}
    if arguments.data.startswith(FOLDER):
        return given | {"image": image_of(arguments) or space_image}
    if given or arguments.image is not None:
        raise InputError("--image, --resize, --augment, --limit and --skip-bad are for --data folder:PATH")
    return {}


def search_config(arguments: argparse.Namespace, **own: Any):
    """Make the recipe: the preset of the space or the published one, then the arguments of the verb, then `--set`.

    Args:
        arguments: of the verb.
        own: settings that are options of the verb.

    Returns:
        The SearchConfig.

    Raises:
        InputError: a setting is unknown, has the wrong type, or has an option of its own.
    """
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
    """Load the three inputs of every search; what can be refused at once is refused first.

    Args:
        arguments: of the verb.

    Returns:
        Search space, image set and latency table.

    Raises:
        InputError: a name is unknown, or the three do not fit each other.
    """
    from labkit import data, spaces
    from labkit.latency import calibration
    from labkit.latency.build import load_networks
    from labkit.latency.table import LatencyTable, shipped_tables
    from labkit.system import storage
    from labkit.system.device import device_name

    own_image = spaces.by_name(arguments.space).image
    if not 0 <= arguments.seed < 2**63:
        raise InputError(f"--seed is a whole number from 0 to 2^63 - 1; got {arguments.seed}")
    chosen = None if arguments.table in (None, "measure") else LatencyTable.load(arguments.table)
    if arguments.predictor is not None and chosen is None:
        raise InputError("--predictor corrects a table that `latency build` wrote: name it with --table")
    images = data.by_name(
        arguments.data,
        seed=arguments.seed,
        download=arguments.download,
        small=arguments.fast,
        **_pictures(arguments, own_image),
    )
    space = spaces.by_name(arguments.space, len(images.classes))
    if image_of(arguments) is not None:
        space = space.for_images(images.image)
    images.check(space.image, space.classes)
    if chosen is None and arguments.table is None:  # a recorded table: the same seed gives the same architecture
        name = storage.find_for_device(shipped_tables(), f"{space.name}-torch-b1")
        recorded = name and LatencyTable.load(name)
        chosen = recorded if recorded and recorded.space_digest == space.digest else None
        if chosen is not None and chosen.card.device != device_name():
            where = f"the latency table is that of {chosen.card.device} in {chosen.card.runtime}, not of this machine"
            print(f"labkit: {where}: --table measure times the operations here", file=sys.stderr)
    if chosen is None:
        print(f"labkit: measuring a latency table of {space.name} on this machine", file=sys.stderr)
        chosen = LatencyTable.measure(space)
    chosen.check(space)
    if arguments.predictor is not None:
        report = arguments.predictor or calibration.report_of(arguments.table)
        chosen = calibration.calibrated(chosen, space, load_networks(report, space))
    return space, images, chosen


def usable_device(arguments: argparse.Namespace) -> str:
    """The requested device, checked.

    Args:
        arguments: of the verb.

    Returns:
        "cpu" or "cuda".

    Raises:
        InputError: torch cannot use the device here.
    """
    import torch

    if arguments.device not in ("cpu", "cuda"):
        raise InputError(f"a device is cpu or cuda; got {arguments.device!r}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs an NVIDIA GPU that torch can use: see python -m labkit doctor")
    return arguments.device


def check_timing(arguments: argparse.Namespace) -> None:
    """Check `--rounds` and `--seconds`.

    Args:
        arguments: of the verb.

    Raises:
        InputError: a number is too small.
    """
    if arguments.rounds < 2:
        raise InputError(f"timing takes at least 2 rounds; got {arguments.rounds}")
    check_seconds(arguments.seconds)


def check_seconds(seconds: float) -> None:
    """Check `--seconds`.

    Args:
        seconds: the value.

    Raises:
        InputError: it is not a finite number above 0.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds is a finite number above 0; got {seconds:g}")


def words(text: str) -> list[str]:
    """Split a list of words.

    Args:
        text: words with commas between them.

    Returns:
        The words, without empty ones.
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Split a list of numbers.

    Args:
        text: numbers with commas between them.
        option: name of the option, for the message.

    Returns:
        The numbers.

    Raises:
        InputError: a part is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} is numbers with commas between, such as 0,0.1,0.4; got {text!r}") from None


def on_terminal() -> bool:
    """Whether someone watches: progress bars are drawn on a terminal only.

    Returns:
        True on a terminal.
    """
    return sys.stderr.isatty()
