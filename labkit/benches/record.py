"""The protocol of all benches: a request, rows that are saved as they are made, verdicts, text and the file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from labkit.benches.tabular import table as tables
from labkit.benches.tabular.table import TabularBenchmark
from labkit.latency.table import LatencyTable
from labkit.spaces import SearchSpace, registry
from labkit.system import storage
from labkit.system.errors import InputError, damaged

R = TypeVar("R")
Verdicts = tuple[tuple[str, bool], ...]  # a claim in words, and whether it holds
TABULAR = "the tabular benchmark: a folder, or the name of a shipped one"
FAST = "the shortened recipe of a live demonstration"


@dataclass(frozen=True)
class Saved(Generic[R]):
    """What is read from the file of a bench.

    Attributes:
        made: Provenance: command, device, versions, date; "earlier" where several runs made the rows.
        rows: The rows of the bench.
        asked: What a later run must repeat to resume; None where the bench does not resume.
    """

    made: dict[str, Any]
    rows: tuple[R, ...]
    asked: dict[str, Any] | None = None

    @property
    def every(self) -> tuple[Any, ...]:
        """All rows, of every kind that the bench has."""
        names = [one.name for one in fields(self) if one.name not in ("made", "asked")]
        return tuple(row for name in names for row in getattr(self, name))


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """The result of a run of a bench.

    Attributes:
        rows: All rows, those of an earlier run included.
        value: What the file holds, as JSON has it.
        text: Rows and verdicts for people.
        passed: Whether every verdict holds.
    """

    rows: tuple[R, ...]
    value: dict[str, Any]
    text: str
    passed: bool


def option(default: Any, says: str, **more: Any) -> Any:
    """Declare a field of a bench as an option of its command.

    Args:
        default: Its value where it is not given; a tuple is typed with commas between.
        says: The help text.
        more: "metavar", "positional", "several" for an option of several words, "separator" in place of the comma.

    Returns:
        A dataclass field.
    """
    return field(default=default, metadata={"says": says, **more})


class Bench(ABC, Generic[R]):
    """A bench with its request. A subclass is a frozen dataclass whose fields are the options of its command.

    Attributes:
        kind, schema: Of the file.
        row: Type of a row, a frozen dataclass.
        saved: Type that the file is read as; by default a `Saved` of `row`.
        resumes: Whether a later run with the same request keeps the rows of an earlier one.
        growing: Name of a mapping in the request that may have grown before a run resumes.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]
    row: ClassVar[Any]
    saved: ClassVar[Any] = None  # the type that the file is read as; by default a `Saved` of `row`
    resumes: ClassVar[bool] = False  # whether a later run with the same request keeps the rows that are there
    growing: ClassVar[str | None] = None  # a mapping in the request that may have grown before a run resumes

    @abstractmethod
    def run(self, done: Sequence[R], on_row: Callable[[R], None]) -> Sequence[R]:
        """Make the rows that the request asks for.

        Args:
            done: Rows of an earlier run, which are kept and not made again.
            on_row: Called with each new row.

        Returns:
            All rows in their order, those of `done` included.
        """

    @abstractmethod
    def text(self, rows: Sequence[R]) -> str:
        """Return rows and verdicts for people.

        Args:
            rows: All rows of the bench, or those so far.

        Returns:
            Lines of text.
        """

    def verdicts(self, rows: Sequence[R]) -> Verdicts:
        """Return what the bench claims; by default nothing.

        Args:
            rows: All rows of the bench.

        Returns:
            Pairs of a claim and whether it holds.
        """
        return ()

    def request(self) -> dict[str, Any] | None:
        """Return what a later run must repeat to resume, as JSON has it; None where a bench does not resume."""
        return None

    def device_used(self) -> str:
        """Return the kind of device that is measured, "cpu" or "cuda"."""
        return "cpu"

    def about(self) -> dict[str, Any]:
        """Return what else the provenance contains: the images, the accuracy of the network."""
        return {}

    def total(self) -> int | None:
        """Return the number of rows for a progress bar; None to print each row instead."""
        return None

    def line(self, row: R) -> str:
        """Return one row as a line of text, printed while the bench runs.

        Args:
            row: The new row.

        Returns:
            One line.
        """
        return self.text([row]).splitlines()[-1]

    def derived(self, rows: Sequence[R]) -> dict[str, Any]:
        """Return keys of the file that follow from the rows; they are not read back.

        Args:
            rows: All rows of the bench.

        Returns:
            JSON values by key.
        """
        return {}

    def to_json(self, rows: Sequence[R]) -> dict[str, Any]:
        """Return the rows as JSON has them.

        Args:
            rows: All rows, or those so far.

        Returns:
            The rows under "rows"; a second kind of rows under its own key.
        """
        return {"rows": [asdict(row) for row in rows]}  # type: ignore[call-overload]


@dataclass(frozen=True)
class TabularBench(Bench[R]):
    """A bench that evaluates by a tabular benchmark; its field `tabular` is the benchmark's folder or shipped name."""

    tabular: str = option("five_layer", TABULAR)

    @cached_property
    def known(self) -> TabularBenchmark:
        """The tabular benchmark."""
        return tables.load(self.tabular)


def load(bench: type[Bench[R]], path: str | Path) -> Saved[R]:
    """Read the record that a bench wrote.

    Args:
        bench: The class of the bench.
        path: A file, or the name of a shipped result.

    Returns:
        Rows, provenance and request.

    Raises:
        InputError: There is no such file, or it is damaged: one line with the file and the place in it.
    """
    path = storage.result_file(path)
    value = storage.read_json(path, bench.kind, bench.schema)
    wanted = bench.saved or Saved[bench.row]  # type: ignore[name-defined]
    return storage.as_record(value, wanted, f"{path} is a damaged {bench.kind}")


def loader(bench: type[Bench[R]], shipped: str) -> Callable[..., tuple[R, ...]]:
    """Make the function that reads the rows of a saved bench.

    Args:
        bench: The class of the bench.
        shipped: Name of the shipped result that is read by default.

    Returns:
        A function of one argument, a file or the name of a shipped result, that returns the rows.
    """

    def read(source: str | Path = shipped) -> tuple[R, ...]:
        return load(bench, source).rows

    read.__name__, read.__qualname__, read.__module__ = "load", "load", bench.__module__
    read.__doc__ = f"""Read the rows of a saved {bench.kind}.

    Args:
        source: A file, or the name of a shipped result.

    Returns:
        The rows.

    Raises:
        InputError: There is no such file, or it is damaged.
    """
    return read


class WithTable(Protocol):
    """A record of something that was computed for one space and one latency table."""

    kind: ClassVar[str]
    schema: ClassVar[int]

    @property
    def space(self) -> dict[str, Any]:
        """The record of the space (`spaces.registry.record`)."""

    @property
    def table(self) -> dict[str, Any]:
        """The latency table as JSON."""


W = TypeVar("W", bound=WithTable)


def read_with_table(path: str | Path, record: type[W]) -> tuple[W, SearchSpace, LatencyTable]:
    """Read a record together with its space and its latency table.

    Args:
        path: A file, or the name of a shipped result.
        record: The type of the record.

    Returns:
        The record, the space and the table, whose card says that it is recorded.

    Raises:
        InputError: There is no such file, it is damaged, or its space is another one now.
    """
    path = storage.result_file(path)
    saved = storage.read_record(path, record)
    with damaged(path, "make it again, or bring that file back"):
        return saved, registry.from_record(saved.space), LatencyTable.from_json(saved.table)


def record(
    bench: Bench[R],
    out: str | Path | None = None,
    *,
    made: dict[str, Any] | None = None,
    on_start: Callable[[int], None] = lambda done: None,
    on_row: Callable[[R], None] = lambda row: None,
) -> Outcome[R]:
    """Run a bench and save it after every row; where `out` holds rows of the same request, resume.

    Args:
        bench: The bench with its request.
        out: The file, JSON; nothing is saved without one.
        made: The provenance of this run.
        on_start: Called with the number of rows that an earlier run left.
        on_row: Called with each new row.

    Returns:
        All rows, the JSON value, the text, and whether every verdict holds.

    Raises:
        InputError: The request cannot be met, or `out` is of another request.
    """
    if out is not None:
        storage.writable_file(out, None if bench.resumes else bench.kind)
    asked = bench.request()
    head: dict[str, Any] = {"kind": bench.kind, "schema": bench.schema, "made": (made or {}) | bench.about()}
    if asked is not None:
        head["asked"] = asked = json.loads(json.dumps(asked))
    done: tuple[R, ...] = ()
    if out is not None and bench.resumes and Path(out).exists():
        saved = load(type(bench), out)
        _check_same(out, saved.asked, asked, bench.growing)
        done = saved.every
        head["made"] = in_sittings(saved.made, len(saved.rows), head["made"])
    on_start(len(done))
    rows = list(done)

    def keep(row: R) -> None:
        rows.append(row)
        on_row(row)
        _save(out, head | bench.to_json(rows))

    whole = tuple(bench.run(done, keep))
    verdicts = bench.verdicts(whole)
    passed = all(holds for _, holds in verdicts)
    value = head | {"passed": passed, "verdicts": [{"claim": claim, "holds": holds} for claim, holds in verdicts]}
    value |= bench.derived(whole) | bench.to_json(whole)
    _save(out, value)
    return Outcome(whole, value, bench.text(whole), passed)


def _save(out: str | Path | None, value: dict[str, Any]) -> None:
    if out is not None:
        storage.write_json(out, {key: x for key, x in value.items() if key != "rows"}, rows=value["rows"])


def _check_same(
    out: str | Path, before: dict[str, Any] | None, asked: dict[str, Any] | None, growing: str | None
) -> None:
    if growing and before and asked:
        before = before | {growing: asked[growing] | before[growing]}
    if before != asked:
        raise InputError(f"{out} is of another bench, with another request: name another file, or repeat that request")


def in_sittings(before: dict[str, Any], rows: int, made: dict[str, Any]) -> dict[str, Any]:
    """Merge the provenance of a resumed run with that of the earlier one.

    Args:
        before: The provenance in the file.
        rows: How many rows there were.
        made: The provenance of this run.

    Returns:
        `made`, with under "earlier" each other command, machine or versions that made rows before.
    """
    if not made:
        return before
    alike = lambda one: {key: value for key, value in one.items() if key not in ("date", "earlier")}
    earlier = [*before.get("earlier", ())]
    if alike(before) != alike(made):
        earlier.append({key: value for key, value in before.items() if key != "earlier"} | {"rows": rows})
    return made | ({"earlier": earlier} if earlier else {})


def options(bench: type[Bench[Any]]) -> Iterable[Any]:
    """Return the fields of a bench that are options, in their order.

    Args:
        bench: The class of the bench.

    Returns:
        Dataclass fields whose metadata has "says".
    """
    return (one for one in fields(bench) if "says" in one.metadata)  # type: ignore[arg-type]
