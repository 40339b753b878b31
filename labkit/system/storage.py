"""Files: JSON for what people read, Parquet for rows, safetensors for tensors. Every write is atomic.

Nothing here runs code found in a file: there is no pickle, and tensors are read by safetensors.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_args

import msgspec

from labkit.system.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = (_PACKAGE / "shipped").is_dir()  # from a wheel, which has in there what a clone has beside the package
ROOT = _PACKAGE / "shipped" if INSTALLED else _PACKAGE.parent
DATA = ROOT / "data"  # what ships: tables and recorded results
NOTEBOOKS = ROOT / "notebooks"


def of_a_device(names: Iterable[str], wanted: str) -> str | None:
    """The name called "device/wanted" or, of several devices' "device/wanted", the first; None without any."""
    return next((name for name in sorted(names) if wanted in (name, name.partition("/")[2])), None)


def writable_folder(path: str | Path) -> Path:
    """`path` as a folder that exists and takes files; made if need be."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise InputError(
            f"cannot write to the folder {folder} ({problem.strerror or problem}); name one that can be written"
        ) from None
    return folder


def writable_file(path: str | Path, kind: str | None = None) -> Path:
    """`path` as a file that can be written, its folder made if need be.

    Args:
        kind: of the JSON that will lie there; a file of another kind is not written over.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"a file is to be written, and {path} is a folder: name a file in it")
    writable_folder(path.parent)
    if kind is not None and path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8")).get("kind")
        except (OSError, ValueError, AttributeError):
            there = None
        if there != kind:
            raise InputError(f"{path} is {there or 'something else'}, not a {kind}: name another file, or remove it")
    return path


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it: a reader sees all of it or none.

    A full disk, or whatever else does not let it be written, is an InputError, and nothing half-written is left.
    """
    path, temporary = Path(path), None
    writable_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        temporary = Path(name)
        os.close(handle)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would make a shared course folder unreadable
        temporary.replace(path)
    except OSError as problem:
        cause = problem.strerror or _first_line(problem)
        raise InputError(f"cannot write {path} ({cause}): make room on the disk, or name another place") from problem
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """UTF-8, with the same line ends on every system."""
    return write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: str | Path, value: Any, rows: Iterable[Any] | None = None) -> Path:
    """Indented UTF-8 JSON. NaN and infinity are refused: they are not JSON, and never a result.

    Args:
        path: The file; its folder is made if need be.
        value: What JSON has; an object if there are `rows`.
        rows: The last key of the object, a line a row: a table stays readable, and its changes too.

    Returns:
        `path`.
    """
    if rows is None:
        return write_text(path, _json(value, indent=1) + "\n")
    entries = [f" {_json(key)}: {_json(part, indent=1)}".replace("\n", "\n ") for key, part in value.items()]
    entries.append(' "rows": [\n  ' + ",\n  ".join(map(_json, rows)) + "\n ]")
    return write_text(path, "{\n" + ",\n".join(entries) + "\n}\n")


def read_json(path: str | Path, kind: str, schema: int) -> dict[str, Any]:
    """An object written by `write_json` whose `kind` and `schema` are those expected.

    Raises:
        InputError: There is no such file, it is damaged, or it is of another kind or schema.
    """
    path = Path(path)
    try:
        value = msgspec.json.decode(path.read_bytes())
    except OSError as problem:
        raise InputError(f"no {kind} can be read at {path} ({problem.strerror or problem})") from None
    except (msgspec.DecodeError, ValueError) as problem:
        raise InputError(f"{path} is not a {kind}: damaged or truncated JSON ({_first_line(problem)})") from None
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise InputError(f"{path} is not a {kind}" + (f" but a {value['kind']}" if _has_kind(value) else ""))
    if value.get("schema") != schema:
        raise InputError(
            f"{path} is a {kind} of schema {value.get('schema')!r}; this labkit reads schema {schema}: make it again"
        )
    return value


class Record(Protocol):
    """A frozen dataclass that is a file: its fields are the keys, next to `kind` and `schema`."""

    kind: ClassVar[str]
    schema: ClassVar[int]


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def write_record(path: str | Path, record: Record, derived: dict[str, Any] | None = None) -> Path:
    """Write a record as JSON; its field `rows`, if it has one, comes last with a line a row.

    Args:
        path: The file; its folder is made if need be.
        record: A frozen dataclass with the class variables `kind` and `schema`.
        derived: Keys for people that follow from the record: they are written and never read back.

    Returns:
        `path`.
    """
    value = record_value(record, derived)
    if "rows" not in value:
        return write_json(path, value)
    rows = value.pop("rows")
    return write_json(path, value, rows)


def record_value(record: Record, derived: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `write_record` writes: plain values that JSON has."""
    fields = msgspec.to_builtins(record)
    return {"kind": record.kind, "schema": record.schema, **fields, **(derived or {})}


def read_record(path: str | Path, record: type[R]) -> R:
    """The record that `write_record` wrote.

    Args:
        path: The file.
        record: The type of the record, whose fields are checked: types, and what its `__post_init__` refuses.

    Raises:
        InputError: One line that names the file and the place in it, such as "at `$.rows[3].seed`".
    """
    return as_record(read_json(path, record.kind, record.schema), record, f"{path} is a damaged {record.kind}")


def as_record(value: Any, record: type[T], says: str) -> T:
    """A value read from JSON as a frozen dataclass, or whatever type msgspec knows.

    Args:
        value: What JSON has.
        record: The type wanted; keys that it does not have are ignored.
        says: The beginning of the message, such as "FILE is a damaged latency table".

    Raises:
        InputError: `says`, what is wrong and where, in one line.
    """
    try:
        return msgspec.convert(value, record)
    except msgspec.ValidationError as problem:
        raise InputError(f"{says}: {_first_line(problem)}") from None


def check_types(value: dict[str, Any], types: dict[str, Any]) -> None:
    """Raise TypeError unless each key of `types` has a value of its type, such as `float | None`; a float may be whole.

    Raises KeyError for a key that is not there.
    """
    for name, wanted in types.items():
        kinds = get_args(wanted) or (wanted,)
        found = value[name]
        fits = isinstance(found, (*kinds, int) if float in kinds else kinds)
        if not fits or (isinstance(found, bool) and bool not in kinds):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise TypeError(f"{name} should be {names}, and is {str(found)[:60]!r}")


def result_file(source: str | Path) -> Path:
    """`source` itself, or the file of that name among the shipped results."""
    path = Path(source)
    shipped = not path.exists() and len(path.parts) == 1
    return DATA / "results" / f"{path.name}.json" if shipped else path


def append_line(path: str | Path, row: dict[str, Any]) -> None:
    """Add one row to a file of JSON lines, and see it on the disk: what was appended survives a kill."""
    line = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n"
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The rows that `append_line` wrote; [] when there is no file. A last line cut short by a kill is not a row."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as problem:
        raise InputError(f"no rows can be read at {path} ({_first_line(problem)})") from None
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            rows.append(json.loads(line, parse_float=_finite, parse_constant=_finite))
        except ValueError as problem:
            raise InputError(f"{path}, line {number}, is not a JSON row: {problem}") from None
    return rows


def resume_lines(path: str | Path) -> list[dict[str, Any]]:
    """`read_lines`, with the file made ready to append to: there, and without a line that a kill cut short."""
    rows = read_lines(path)
    write_lines(path, rows)
    return rows


def resume_log(path: str | Path, of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines whose first line says what the others are `of`; a new file is begun with it.

    Raises:
        InputError: the file is of something else. `name` is what it is of, for people.
    """
    path, of = Path(path), json.loads(json.dumps(of))
    writable_folder(path.parent)
    lines = resume_lines(path)
    if not lines:
        append_line(path, of)
        return []
    first, *rows = lines
    if first != of:
        different = [key for key in of if first.get(key) != of[key]]
        raise InputError(f"{path} is of another {name} ({', '.join(different)} differ): name another file")
    return rows


def write_lines(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Rows as JSON lines, all at once."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n" for row in rows)
    return write_text(path, "".join(lines))


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Rows of equal keys, as Parquet."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows))
    return write_atomically(path, lambda file: pyarrow.parquet.write_table(table, file))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Rows that `write_rows` wrote."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as problem:
        raise InputError(f"no Parquet rows can be read at {path} ({_first_line(problem)})") from None


def write_tensors(path: str | Path, tensors: dict[str, Tensor]) -> Path:
    """Tensors by name, from any device, as safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(file: Path) -> None:
        try:
            save_file(tensors, file)
        except SafetensorError as problem:  # a full disk, which it does not report as one
            raise OSError(_first_line(problem)) from None

    return write_atomically(path, write)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors that `write_tensors` wrote, on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(f"no tensors can be read at {path} ({_first_line(problem)})") from None


def _finite(text: str) -> float:
    """A number too large for a float would be read as infinity, which no row was written with."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def _has_kind(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("kind"), str)


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
