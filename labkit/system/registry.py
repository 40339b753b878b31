"""Parts by name: built-in ones and a reader's own come in through the same door."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, overload

from labkit.system.errors import InputError, meant

T = TypeVar("T")
PACKAGE = __name__.partition(".")[0]
SEPARATOR = "-"  # joins the operations of an architecture in its text


class Own(NamedTuple):
    """A part that does not come with the package: what another process needs in order to know it."""

    kind: str  # of the registry
    name: str
    module: str  # that registered it
    part: Any
    home: str  # the module of the registry, which a new process has not imported yet


class Registry(Mapping[str, T], Generic[T]):
    """Parts of one kind by name. A name is registered once; `module:attribute` is imported when it is asked for.

    Args:
        kind: what the parts are, such as "operation". It begins the error messages.
        function: the public function that registers a part. The error messages name it.
    """

    def __init__(self, kind: str, function: str):
        self.kind, self.function = kind, function
        self._parts: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        self.home: str = sys._getframe(1).f_globals["__name__"]
        _REGISTRIES[kind] = self

    @overload
    def register(self, name: str, part: T, *, replace: bool = False) -> T: ...
    @overload
    def register(self, name: str, part: None = None, *, replace: bool = False) -> Callable[[T], T]: ...
    def register(self, name: str, part: T | None = None, *, replace: bool = False) -> T | Callable[[T], T]:
        """Register `part` under `name`, or return a decorator that does.

        Args:
            name: without spaces, commas and colons; an operation also without dashes.
            replace: take the place of a part that has this name already.

        Raises:
            InputError: the name is taken or cannot be typed.
        """
        if part is None:
            return lambda part: self.register(name, part, replace=replace)
        if not isinstance(name, str) or not name or any(c in " ,:\n\t" for c in name):
            raise InputError(f"names of {self.kind}s have no spaces, commas or colons; got {name!r}")
        if self.kind == "operation" and SEPARATOR in name:
            raise InputError(f"the name of an operation has no {SEPARATOR!r}, which joins the names; got {name!r}")
        if name in self._parts and not replace and self._parts[name] is not part:
            raise InputError(
                f"the {self.kind} {name!r} is registered already, by {self._modules[name]}: take another name, "
                f"or pass replace=True to {self.function}"
            )
        self._parts[name], self._modules[name] = part, _registering_module()
        return part

    def remove(self, name: str) -> None:
        """Forget the part called `name`. InputError when there is none."""
        self.find(name)
        self._parts.pop(name)
        self._modules.pop(name)

    def find(self, name: str) -> T:
        """The part called `name`, or the one that `module:attribute` names.

        Raises:
            InputError: there is none. The message lists what is registered and says how a part is added.
        """
        if isinstance(name, str) and ":" in name and name not in self._parts:
            self._parts[name] = imported(name, self.kind)
            self._modules[name] = name.partition(":")[0]
        if name not in self._parts:
            raise InputError(
                f"{self.kind}s are {', '.join(self._parts) or 'none'}; got {name!r}{meant(name, self._parts)} "
                f"(an own one is added by {self.function}, or named as module:attribute)"
            )
        return self._parts[name]

    def name_of(self, part: T) -> str:
        """The name of a registered part; an own part without one is registered as `module:attribute`."""
        for name, known in self._parts.items():
            if known is part:
                return name
        if not (name := _defined(part)):
            raise InputError(f"this {self.kind} has no name: register it by {self.function}; got {part!r}")
        self._parts[name], self._modules[name] = part, name.partition(":")[0]
        return name

    def module(self, name: str) -> str:
        """The module that registered the part called `name`."""
        self.find(name)
        return self._modules[name]

    def is_own(self, name: str) -> bool:
        """Whether the part called `name` does not come with the package."""
        return self.module(name).partition(".")[0] != PACKAGE

    def own(self, names: Iterable[str] | None = None) -> tuple[Own, ...]:
        """The parts, of `names` or of all, that do not come with the package."""
        wanted = self._parts if names is None else names
        own = [name for name in wanted if self.is_own(name)]
        return tuple(Own(self.kind, name, self.module(name), self.find(name), self.home) for name in own)

    def __getitem__(self, name: str) -> T:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


_REGISTRIES: dict[str, Registry[Any]] = {}


def own_parts() -> tuple[Own, ...]:
    """The own parts of every registry: what a worker process must be given, as it imports the package afresh."""
    return tuple(own for registry in _REGISTRIES.values() for own in registry.own())


def adopt(parts: tuple[Own, ...]) -> None:
    """Register in this process what `own_parts` returned in another one."""
    for own in parts:
        importlib.import_module(own.home)
        registry = _REGISTRIES[own.kind]
        registry._parts[own.name], registry._modules[own.name] = own.part, own.module


def imported(name: str, kind: str) -> Any:
    """The object that `module:attribute` names.

    Args:
        kind: what is expected there, for the error message.

    Raises:
        InputError: no such module can be imported, or it has no such attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as problem:
        raise InputError(f"the {kind} {name} cannot be imported ({problem}): put its folder on PYTHONPATH") from None
    if not hasattr(found, attribute):
        raise InputError(f"module {module} has no {attribute!r}, expected a {kind}{meant(attribute, dir(found))}")
    return getattr(found, attribute)


def describe(parts: Iterable[Own]) -> list[dict[str, str]]:
    """Own parts as JSON, so that another process can find them: see `recover`."""
    return [{"kind": own.kind, "name": own.name, "module": own.module, "defined": _defined(own.part)} for own in parts]


def recover(described: Iterable[Mapping[str, str]], *, imports: bool = True) -> None:
    """Make known in this process the parts that `describe` described, by importing the modules that hold them.

    Args:
        described: what `describe` returned, also after JSON.
        imports: whether modules may be imported; without, the parts must be known already.

    Raises:
        InputError: a part is not known here, and no module can be imported that registers or defines it.
    """
    for row in described:
        registry, name = _registry(row["kind"]), row["name"]
        tried: list[str] = []
        if imports and ":" in name:  # its name says where it is
            registry.find(name)
        for module in dict.fromkeys((row["module"], row["defined"].partition(":")[0])):
            if name in registry or module in ("", "__main__") or not imports:
                continue
            try:
                importlib.import_module(module)
            except ImportError as problem:
                tried.append(str(problem))
        found = imports and not tried and ":" in row["defined"] and not row["defined"].startswith("__main__:")
        if name not in registry and found:
            registry.register(name, imported(row["defined"], registry.kind))
        if name not in registry:
            where = "a script or a notebook" if row["module"] == "__main__" else f"module {row['module']}"
            raise InputError(
                f"the {registry.kind} {name!r} was registered by {where}"
                + (f", which cannot be imported ({'; '.join(tried)})" if tried else "")
                + f": register it by {registry.function} first, or import its module (--op MODULE)"
            )


def import_parts(module: str) -> None:
    """Import a module that registers own parts.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        importlib.import_module(module)
    except ImportError as problem:
        raise InputError(f"module {module} cannot be imported ({problem}): put its folder on PYTHONPATH") from None


def _registry(kind: str) -> Registry[Any]:
    if kind not in _REGISTRIES:
        raise InputError(f"parts are {', '.join(_REGISTRIES)}; got {kind!r}")
    return _REGISTRIES[kind]


def _defined(part: object) -> str:
    """`module:attribute` of a function or a class that stands at the top of a module, else ""."""
    module, attribute = getattr(part, "__module__", None), getattr(part, "__qualname__", "")
    return f"{module}:{attribute}" if isinstance(module, str) and attribute.isidentifier() else ""


def _registering_module() -> str:
    frame = sys._getframe(1)
    while frame.f_code.co_name.startswith("register") or frame.f_code.co_name == "<lambda>":
        if frame.f_back is None:
            break
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))
