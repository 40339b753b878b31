"""The registry of search spaces, and spaces as plain data."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec

from labkit.spaces.cells import CELLS, cells
from labkit.spaces.chains import five_layer, mobile
from labkit.spaces.edge import SIZES, edge
from labkit.spaces.ops import HEADS, OPS
from labkit.spaces.search_space import SearchSpace
from labkit.system.errors import InputError
from labkit.system.registry import Registry, describe, recover

SpaceMaker = Callable[..., SearchSpace]  # classes= -> the space
SPACES: Registry[SpaceMaker] = Registry("space", "labkit.register_space")


def register_space(name: str, make: SpaceMaker | None = None, *, replace: bool = False) -> Any:
    """Register a search space. It works as a call and as a decorator.

    Args:
        name: what the command line calls it.
        make: a function that takes `classes` and returns a `SearchSpace`.
        replace: replace a space of this name. Otherwise a taken name is an InputError.

    Returns:
        The function itself. Without `make`, a decorator.
    """
    return SPACES.register(name, make, replace=replace)


SPACES.register("five_layer", five_layer)
SPACES.register("mobile-tiny", mobile)
SPACES.register("mobile-full", partial(mobile, "full"))
for _size in CELLS:
    SPACES.register(f"cells-{_size}", partial(cells, _size))
for _size in SIZES:
    SPACES.register("edge" if _size == "tiny" else f"edge-{_size}", partial(edge, _size))


def by_name(name: str, classes: int = 10) -> SearchSpace:
    """Make the space that has this name on the command line and in saved files.

    Args:
        name: a registered name, or `module:function` of a function like a registered one.
        classes: number of classes of the images.

    Returns:
        The space.

    Raises:
        InputError: there is no such space, or the function makes none.
    """
    made = SPACES.find(name)(classes=classes)
    if not isinstance(made, SearchSpace):
        raise InputError(f"the space {name} must be a function that returns a SearchSpace; it returns {made!r:.80}")
    return made


def record(space: SearchSpace) -> dict[str, Any]:
    """Describe a space as JSON values.

    Args:
        space: a registered space or any other one.

    Returns:
        Its name, number of classes and digest; where `by_name` cannot make it again also its whole "definition"; and
        in "parts" where its own parts can be found, see `system.registry.describe`.
    """
    named: dict[str, Any] = {"name": space.name, "classes": space.classes, "digest": space.digest}
    again = space.name in SPACES and _is_reproduced(space)
    own = (*OPS.own(space.operations), *HEADS.own([space.head]), *(SPACES.own([space.name]) if again else ()))
    if own:
        named["parts"] = describe(own)
    return named if again else named | {"definition": msgspec.to_builtins(asdict(space))}


def from_record(value: dict[str, Any], *, imports: bool = True, same: bool = True) -> SearchSpace:
    """Make the space that `record` described, in any process.

    Args:
        value: what `record` returned, also after JSON.
        imports: import the modules that hold its own parts. If not, these must be registered already: for records
            from strangers, which must not choose what is imported.
        same: refuse a space whose digest differs now.

    Returns:
        The space.

    Raises:
        InputError: a part of it cannot be found, or its digest differs.
    """
    recover(value.get("parts", ()), imports=imports)
    if not imports:
        definition = value.get("definition", {"slots": (), "edges": ()})
        named = [op for slot in definition["slots"] for op in slot] + [e["fixed"] for e in definition["edges"]]
        if foreign := [name for name in (*named, value["name"]) if name and ":" in name]:
            raise InputError(f"{foreign[0]} would have to be imported: register its parts first (--op MODULE)")
    if "definition" in value:
        space = msgspec.convert(value["definition"], SearchSpace, strict=False)
    else:
        space = by_name(value["name"], value["classes"])
    if same and space.digest != value["digest"]:
        raise InputError(f"space {value['name']} has changed (digest {value['digest']} then, {space.digest} now)")
    return space


def _is_reproduced(space: SearchSpace) -> bool:
    try:
        return by_name(space.name, space.classes).digest == space.digest
    except (InputError, TypeError):
        return False
