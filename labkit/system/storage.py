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
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec

from labkit.system.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = (_PACKAGE / "shipped").is_dir()  # from a wheel, which has there what a clone has next to the package
ROOT = _PACKAGE / "shipped" if INSTALLED else _PACKAGE.parent
DATA = ROOT / "data"  # shipped tables and recorded results
NOTEBOOKS = ROOT / "notebooks"


def find_for_device(names: Iterable[str], wanted: str) -> str | None:
    """Find a name that may be given with or without its device.

    Args:
        names: names of the form "DEVICE/NAME".
        wanted: "DEVICE/NAME", or "NAME" for the first device that has it.

    Returns:
        The name in full, or None where there is none.
    """
    return next((name for name in sorted(names) if wanted in (name, name.partition("/")[2])), None)


def writable_folder(path: str | Path) -> Path:
    """Make sure that a folder exists and takes files.

    Args:
        path: the folder; it is created with its parents.

    Returns:
        The folder.

    Raises:
        InputError: it cannot be created or written to.
    """
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
    """Make sure that a file can be written. Its folder is created.

    Args:
        path: the file.
        kind: the kind of its JSON object; a file of another kind is not overwritten.

    Returns:
        The file.

    Raises:
        InputError: it is a folder, its folder cannot be written to, or a file of another kind is there.
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
    """Write a temporary file in the same folder, then rename it: a reader sees the whole file or none.

    Args:
        path: the file; its folder is created.
        write: called with the path of the temporary file, which it fills.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written, as on a full disk; nothing of it is left.
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
    """Write text as UTF-8, with the same line ends on every system.

    Args:
        path: the file; its folder is created.
        text: its content.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
    return write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: str | Path, value: Any, rows: Iterable[Any] | None = None) -> Path:
    """Write indented UTF-8 JSON.

    Args:
        path: the file; its folder is created.
        value: JSON values; a dictionary if there are `rows`.
        rows: written as the last key "rows" of the object, one line a row, so that a table and its changes stay
            readable.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
        ValueError: a number is NaN or infinite, which JSON does not have.
    """
    if rows is None:
        return write_text(path, _json(value, indent=1) + "\n")
    entries = [f" {_json(key)}: {_json(part, indent=1)}".replace("\n", "\n ") for key, part in value.items()]
    entries.append(' "rows": [\n  ' + ",\n  ".join(map(_json, rows)) + "\n ]")
    return write_text(path, "{\n" + ",\n".join(entries) + "\n}\n")


def read_json(path: str | Path, kind: str, schema: int) -> dict[str, Any]:
    """Read an object that `write_json` wrote.

    Args:
        path: the file.
        kind: the value that its key "kind" must have.
        schema: the value that its key "schema" must have.

    Returns:
        The object.

    Raises:
        InputError: there is no such file, it is damaged, or it is of another kind or schema.
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
    """A frozen dataclass that is written as one JSON object: its fields are the keys, next to `kind` and `schema`.

    Attributes:
        kind: class variable: what the file is, such as "latency table".
        schema: class variable: version of the format.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def write_record(path: str | Path, record: Record, derived: dict[str, Any] | None = None) -> Path:
    """Write a record as JSON; its field `rows`, if it has one, comes last with one line a row.

    Args:
        path: the file; its folder is created.
        record: a frozen dataclass with the class variables `kind` and `schema`.
        derived: further keys for people, which follow from the record: they are written and never read.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
    value = record_value(record, derived)
    if "rows" not in value:
        return write_json(path, value)
    rows = value.pop("rows")
    return write_json(path, value, rows)


def record_value(record: Record, derived: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a record as JSON values, as `write_record` writes them.

    Args:
        record: a frozen dataclass with the class variables `kind` and `schema`.
        derived: further keys for people.

    Returns:
        The object.
    """
    fields = msgspec.to_builtins(record)
    return {"kind": record.kind, "schema": record.schema, **fields, **(derived or {})}


def read_record(path: str | Path, record: type[R]) -> R:
    """Read a record that `write_record` wrote.

    Args:
        path: the file.
        record: the type of the record. The types of its fields are checked, and its `__post_init__` runs.

    Returns:
        The record.

    Raises:
        InputError: one line that names the file and the place in it, such as "at `$.rows[3].seed`".
    """
    return as_record(read_json(path, record.kind, record.schema), record, f"{path} is a damaged {record.kind}")


def as_record(value: Any, record: type[T], says: str) -> T:
    """Convert JSON values to a frozen dataclass, or to another type that msgspec knows.

    Args:
        value: JSON values.
        record: the type wanted; keys that it does not have are ignored.
        says: beginning of the error message, such as "FILE is a damaged latency table".

    Returns:
        An instance of `record`.

    Raises:
        InputError: `says`, what is wrong and where, in one line.
    """
    try:
        return msgspec.convert(value, record)
    except msgspec.ValidationError as problem:
        raise InputError(f"{says}: {_first_line(problem)}") from None


def result_file(source: str | Path) -> Path:
    """Find a recorded result.

    Args:
        source: a path, or the name of a shipped result.

    Returns:
        `source` itself if it exists, otherwise the path that a shipped result of this name would have.
    """
    path = Path(source)
    shipped = not path.exists() and len(path.parts) == 1
    return DATA / "results" / f"{path.name}.json" if shipped else path


def append_line(path: str | Path, row: dict[str, Any]) -> None:
    """Append one row to a file of JSON lines and wait until it is on the disk.

    Args:
        path: the file.
        row: JSON values.
    """
    line = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n"
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read the rows that `append_line` wrote. A last line without an end, as a killed process leaves it, is ignored.

    Args:
        path: the file.

    Returns:
        The rows; [] where there is no file.

    Raises:
        InputError: the file cannot be read, or a line is no JSON.
    """
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
    """Read rows and make the file ready for more: it exists then, and its unfinished last line is removed.

    Args:
        path: the file.

    Returns:
        The rows.

    Raises:
        InputError: the file cannot be read or written, or a line is no JSON.
    """
    rows = read_lines(path)
    write_lines(path, rows)
    return rows


def resume_log(path: str | Path, of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Read a JSON-lines file with a header line and make it ready for more rows. A new file gets the header.

    Args:
        path: the file; its folder is created.
        of: the header: what the rows belong to.
        name: what the header describes, for the error message.

    Returns:
        The rows after the header.

    Raises:
        InputError: the header is another one. The message names the keys that differ.
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
    """Write rows as a file of JSON lines.

    Args:
        path: the file; its folder is created.
        rows: JSON values. All are written at once and replace what the file held; `append_line` adds one to those
            that are there.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n" for row in rows)
    return write_text(path, "".join(lines))


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as Parquet.

    Args:
        path: the file; its folder is created.
        rows: dictionaries with the same keys.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows))
    return write_atomically(path, lambda file: pyarrow.parquet.write_table(table, file))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Read rows that `write_rows` wrote.

    Args:
        path: the file.

    Returns:
        The rows.

    Raises:
        InputError: there is no such file, or it is no Parquet.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as problem:
        raise InputError(f"no Parquet rows can be read at {path} ({_first_line(problem)})") from None


def write_tensors(path: str | Path, tensors: dict[str, Tensor]) -> Path:
    """Write tensors as safetensors.

    Args:
        path: the file; its folder is created.
        tensors: by name, on any device.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
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
    """Read tensors that `write_tensors` wrote.

    Args:
        path: the file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(f"no tensors can be read at {path} ({_first_line(problem)})") from None


def _finite(text: str) -> float:
    """A number too large for a float would be read as infinity, which JSON does not have."""
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
