"""Registries of parts by name. Built-in parts and a user's own are registered by the same functions."""

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
    """A part that does not come with the package, with all that another process needs to register it.

    Attributes:
        kind: the kind of its registry, such as "operation".
        name: its name there.
        module: the module that registered it.
        part: the part itself.
        home: the module of the registry, which a new process has not imported yet.
    """

    kind: str
    name: str
    module: str
    part: Any
    home: str


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to parts of one kind. A name of the form `module:attribute` is imported at its first use.

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
        """Register a part, or return a decorator that registers one.

        Args:
            name: without spaces, commas and colons; an operation also without dashes.
            part: what to register; None for a decorator.
            replace: replace a part that has this name already.

        Returns:
            `part`, or the decorator.

        Raises:
            InputError: the name is taken or has a character that names do not have.
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
        """Remove a part.

        Args:
            name: its registered name.

        Raises:
            InputError: there is none of this name.
        """
        self.find(name)
        self._parts.pop(name)
        self._modules.pop(name)

    def find(self, name: str) -> T:
        """Look up a part.

        Args:
            name: a registered name, or `module:attribute`, which is then imported and registered.

        Returns:
            The part.

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
        """Return the name of a part. One that is not registered yet is registered as `module:attribute`.

        Args:
            part: a registered part, or a function or class that stands at the top of a module.

        Returns:
            Its name.

        Raises:
            InputError: it has no name and cannot be imported by one.
        """
        for name, known in self._parts.items():
            if known is part:
                return name
        if not (name := _defined(part)):
            raise InputError(f"this {self.kind} has no name: register it by {self.function}; got {part!r}")
        self._parts[name], self._modules[name] = part, name.partition(":")[0]
        return name

    def module(self, name: str) -> str:
        """Return the module that registered a part.

        Args:
            name: a registered name.

        Returns:
            The name of the module.

        Raises:
            InputError: there is no part of this name.
        """
        self.find(name)
        return self._modules[name]

    def is_own(self, name: str) -> bool:
        """Return whether a part does not come with the package.

        Args:
            name: a registered name.

        Returns:
            True for a user's own part.

        Raises:
            InputError: there is no part of this name.
        """
        return self.module(name).partition(".")[0] != PACKAGE

    def own(self, names: Iterable[str] | None = None) -> tuple[Own, ...]:
        """Return the parts that do not come with the package.

        Args:
            names: names to choose from; None for all.

        Returns:
            The own parts among them.
        """
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
    """Return the own parts of every registry: a worker process, which imports the package itself, lacks them."""
    return tuple(own for registry in _REGISTRIES.values() for own in registry.own())


def adopt(parts: tuple[Own, ...]) -> None:
    """Register in this process what `own_parts` returned in another one.

    Args:
        parts: own parts of any kind.
    """
    for own in parts:
        importlib.import_module(own.home)
        registry = _REGISTRIES[own.kind]
        registry._parts[own.name], registry._modules[own.name] = own.part, own.module


def imported(name: str, kind: str) -> Any:
    """Import an object by name.

    Args:
        name: `module:attribute`.
        kind: what is expected there, for the error message.

    Returns:
        The object.

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
    """Describe own parts as JSON values, so that another process can find them: see `recover`.

    Args:
        parts: own parts of any kind.

    Returns:
        For each part its "kind", "name", "module" (that registered it) and "defined" (`module:attribute` or "").
    """
    return [{"kind": own.kind, "name": own.name, "module": own.module, "defined": _defined(own.part)} for own in parts]


def recover(described: Iterable[Mapping[str, str]], *, imports: bool = True) -> None:
    """Register in this process the parts that `describe` described, by importing their modules.

    Args:
        described: what `describe` returned, also after JSON.
        imports: whether modules may be imported. If not, the parts must be registered already.

    Raises:
        InputError: a part is not registered, and no module that registers or defines it can be imported.
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

    Args:
        module: its dotted name.

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
