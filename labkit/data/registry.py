"""The registry of image sets, and recipes by which a set is made again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.data.folders import folder
from labkit.data.generated import glyphs, hard_glyphs
from labkit.data.images import ImageSet, Recipe
from labkit.data.real import cifar10, cifar100, digits, fashion_mnist
from labkit.system.errors import InputError
from labkit.system.registry import Registry, describe, recover

DataMaker = Callable[..., ImageSet]  # seed=, and options of its own -> the set
SETS: Registry[DataMaker] = Registry("image set", "labkit.register_data")
SMALL = {"train": 3_000, "valid": 1_000, "test": 2_000}  # images of a part for a quick look
FOLDER = "folder:"  # begins a name that says where the images lie


def register_data(name: str, make: DataMaker | None = None, *, replace: bool = False) -> Any:
    """Register an image set. It works as a call and as a decorator.

    Args:
        name: what the command line calls it.
        make: a function that takes `seed` as a keyword, and may take more, and returns an `ImageSet`. What it was
            called with is kept with the set, so that a saved run can make it again.
        replace: replace an image set that has this name already.

    Returns:
        `make` as a function whose sets know how they were made, or a decorator for it.

    Raises:
        InputError: the name is taken, or cannot be used.
    """
    if make is None:
        return lambda make: register_data(name, make, replace=replace)
    made = _remembering(name, make)
    SETS.register(name, made, replace=replace)
    return made


def by_name(name: str, *, seed: int = 0, download: bool = False, small: bool = False, **options: Any) -> ImageSet:
    """Make or load the image set that has this name on the command line.

    Args:
        name: a registered name, `folder:PATH`, or `module:function` of a function like a registered one.
        seed: of the split, and of what is generated.
        download: whether torchvision may download missing files.
        small: take at most 3,000 / 1,000 / 2,000 images of its parts, for a quick look.
        options: further arguments of that set's function.

    Returns:
        The image set.

    Raises:
        InputError: there is no such set, it takes no such argument, or its images are not here.
    """
    if name.startswith(FOLDER):
        name, options = "folder", {"path": name.removeprefix(FOLDER), **options}
    make = SETS.find(name)
    if not hasattr(make, "__wrapped__"):  # named as module:function
        make = _remembering(name, make)
    known = inspect.signature(make).parameters
    given = {"seed": seed, **({"download": download} if "download" in known else {}), **options}
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        if unknown := sorted(set(given) - set(known)):
            raise InputError(f"the image set {name} takes {', '.join(known)}; got {', '.join(unknown)}")
    images = make(**given)
    return shrunk(images) if small else images


def shrunk(images: ImageSet) -> ImageSet:
    """Cut a set to at most 3,000 / 1,000 / 2,000 images, the first ones of each part.

    Args:
        images: the set.

    Returns:
        A smaller set.
    """
    parts = {part: getattr(images, part)[:most] for part, most in SMALL.items()}
    recipe = images.made_by and replace(images.made_by, small=True)
    return replace(images, **parts, made_by=recipe)


def from_recipe(recipe: Recipe, *, download: bool = False) -> ImageSet:
    """Make an image set again, in any process. The module of a user's own set is imported.

    Args:
        recipe: `made_by` of the set.
        download: whether torchvision may download missing files.

    Returns:
        The image set.

    Raises:
        InputError: the set cannot be found or made.
    """
    recover(recipe.parts)
    return by_name(recipe.name, download=download, small=recipe.small, **recipe.arguments)


def _remembering(name: str, make: DataMaker) -> DataMaker:
    @functools.wraps(make)
    def made(*positional: Any, **named: Any) -> ImageSet:
        images = make(*positional, **named)
        if not isinstance(images, ImageSet):
            raise InputError(f"the image set {name} must be a function that returns an ImageSet; got {images!r:.80}")
        bound = inspect.signature(make).bind(*positional, **named)
        bound.apply_defaults()
        arguments = {key: _plain(key, value) for key, value in bound.arguments.items() if key != "download"}
        parts = tuple(describe(SETS.own([name]))) if name in SETS else ()
        return replace(images, made_by=Recipe(name, arguments, parts=parts))

    return made


def _plain(key: str, value: Any) -> Any:
    """A path as absolute text, as a run is also read from other folders."""
    if isinstance(value, Path) or (key in ("path", "root") and isinstance(value, str)):
        return str(Path(value).expanduser().resolve())
    return value


glyphs = register_data("glyphs", glyphs)
hard_glyphs = register_data("glyphs-hard", hard_glyphs)
digits = register_data("digits", digits)
cifar10 = register_data("cifar10", cifar10)
cifar100 = register_data("cifar100", cifar100)
fashion_mnist = register_data("fashion-mnist", fashion_mnist)
folder = register_data("folder", folder)
