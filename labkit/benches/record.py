"""The protocol of all benches: a request, rows that are saved as they come, verdicts, text and the file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from labkit.system import storage
from labkit.system.errors import InputError

R = TypeVar("R")
Verdicts = tuple[tuple[str, bool], ...]  # a claim in words, and whether it holds
TABULAR = "the tabular benchmark: a folder, or the name of a shipped one"
FAST = "the shortened recipe of a live demonstration"


@dataclass(frozen=True)
class Saved(Generic[R]):
    """What is read from the file of a bench."""

    made: dict[str, Any]  # provenance: command, device, versions, date; "earlier" where several runs made the rows
    rows: tuple[R, ...]
    asked: dict[str, Any] | None = None  # what a later run must repeat to resume


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What a run of a bench ended with."""

    rows: tuple[R, ...]
    value: dict[str, Any]  # as JSON has it
    text: str
    passed: bool


def option(default: Any, says: str, **more: Any) -> Any:
    """A field of a bench that is an option of its command.

    Args:
        default: Its value where it is not given; a tuple is typed with commas between.
        says: The help text.
        more: "metavar", "several" for an option of several words, "separator" in place of the comma.
    """
    return field(default=default, metadata={"says": says, **more})


class Bench(ABC, Generic[R]):
    """A bench with its request. A subclass is a frozen dataclass whose fields are the options of its command."""

    kind: ClassVar[str]
    schema: ClassVar[int]
    row: ClassVar[Any]
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
        """The rows and the verdicts for people."""

    def verdicts(self, rows: Sequence[R]) -> Verdicts:
        """The claims, and whether they hold of `rows`; () where the bench claims nothing."""
        return ()

    def request(self) -> dict[str, Any] | None:
        """What a later run must repeat to resume, as JSON has it; None where a bench does not resume."""
        return None

    def device_used(self) -> str:
        """The kind of device that is measured."""
        return "cpu"

    def about(self) -> dict[str, Any]:
        """What else the provenance says: the images, the accuracy of the network."""
        return {}

    def total(self) -> int | None:
        """How many rows there will be, for a progress bar; None to print each row instead."""
        return None

    def line(self, row: R) -> str:
        """One row as a line of text, printed while the bench runs."""
        return self.text([row]).splitlines()[-1]

    def derived(self, rows: Sequence[R]) -> dict[str, Any]:
        """Keys of the file that follow from the rows."""
        return {}

    def to_json(self, rows: Sequence[R]) -> dict[str, Any]:
        """The rows as JSON has them, under "rows"."""
        return {"rows": [asdict(row) for row in rows]}  # type: ignore[call-overload]

    @classmethod
    def saved_type(cls) -> Any:
        """The type that the file is read as, a `Saved`."""
        return Saved[cls.row]  # type: ignore[name-defined]

    @classmethod
    def rows_of(cls, saved: Any) -> tuple[R, ...]:
        """All rows of a file that was read."""
        return saved.rows


def load(bench: type[Bench[R]], path: str | Path) -> Saved[R]:
    """The record that a bench wrote.

    Args:
        bench: The class of the bench.
        path: A file, or the name of a shipped result.

    Raises:
        InputError: There is no such file, or it is damaged: one line with the file and the place in it.
    """
    path = storage.result_file(path)
    value = storage.read_json(path, bench.kind, bench.schema)
    return storage.as_record(value, bench.saved_type(), f"{path} is a damaged {bench.kind}")


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
        done = bench.rows_of(saved)
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
    """The fields of a bench that are options, in their order."""
    return (one for one in fields(bench) if "says" in one.metadata)  # type: ignore[arg-type]
