import json
import os
import resource
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from labkit.system import storage
from labkit.system.errors import InputError


def test_round_trips(tmp_path):
    value = {"kind": "thing", "schema": 1, "x": [1, 2.5, "ü"]}
    assert storage.read_json(storage.write_json(tmp_path / "a" / "v.json", value), "thing", 1) == value
    rows = [{"step": 0, "loss": 1.5, "probs": [0.1, 0.9]}, {"step": 1, "loss": None, "probs": [0.2, 0.8]}]
    assert storage.read_rows(storage.write_rows(tmp_path / "r.parquet", rows)) == rows
    tensors = {"w": torch.arange(6.0).reshape(2, 3).T}
    assert torch.equal(
        storage.read_tensors(storage.write_tensors(tmp_path / "t.safetensors", tensors))["w"], tensors["w"]
    )


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = storage.write_text(tmp_path / "a.txt", "before")

    def fail(file):
        file.write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        storage.write_atomically(path, fail)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("write", "content"),
    [
        (storage.write_text, "x" * 20_000),
        (storage.write_tensors, {"w": torch.ones(5_000)}),
        (storage.write_rows, [{"x": os.urandom(8).hex()} for _ in range(2_000)]),
    ],
)
def test_a_full_disk_is_said_with_the_path_and_leaves_what_was_there(tmp_path, write, content):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / "a.txt"
    path.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*a\.txt \(.*[Ff]ile too large.*\): make room on the disk"):
            write(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError):
        storage.write_json(tmp_path / "v.json", {"x": float("nan")})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"kind": "thing", "sch', "damaged or truncated"),
        ("[]", "is not a thing"),
        ('{"kind": "other", "schema": 1}', "but a other"),
        ('{"kind": "thing", "schema": 2}', "schema 2"),
    ],
)
def test_wrong_json_is_refused(tmp_path, content, says):
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(InputError, match=says):
        storage.read_json(tmp_path / "v.json", "thing", 1)


def test_missing_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no thing can be read"):
        storage.read_json(tmp_path / "none.json", "thing", 1)
    for name, write, read in (
        ("r.parquet", lambda p: storage.write_rows(p, [{"a": 1}]), storage.read_rows),
        ("t.safetensors", lambda p: storage.write_tensors(p, {"w": torch.ones(9)}), storage.read_tensors),
    ):
        with pytest.raises(InputError, match="can be read"):
            read(tmp_path / name)
        whole = write(tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="can be read"):
            read(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the folder"):
        storage.writable_folder(tmp_path / "file" / "below")


def test_lines_survive_a_kill_in_the_middle_of_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert storage.read_lines(path) == []
    for i in range(3):
        storage.append_line(path, {"i": i, "name": "größer"})
    assert [row["i"] for row in storage.read_lines(path)] == [0, 1, 2]
    path.write_text(path.read_text()[:-7])
    assert [row["i"] for row in storage.read_lines(path)] == [0, 1]
    storage.write_lines(path, storage.read_lines(path))
    storage.append_line(path, {"i": 9})
    assert [row["i"] for row in storage.read_lines(path)] == [0, 1, 9]
    path.write_text('{"i": 1}\n{"i": \n{"i": 3}\n')
    with pytest.raises(InputError, match="line 2, is not a JSON row"):
        storage.read_lines(path)
    with pytest.raises(ValueError):
        storage.append_line(path, {"i": float("nan")})


def test_json_with_rows_has_a_line_a_row(tmp_path):
    path = storage.write_json(tmp_path / "t.json", {"kind": "t", "schema": 1}, rows=[["a", 1.5], ["b", 2]])
    assert '  ["a", 1.5],\n  ["b", 2]\n' in path.read_text()
    assert storage.read_json(path, "t", 1)["rows"] == [["a", 1.5], ["b", 2]]


@dataclass(frozen=True)
class Row:
    seed: int
    error: float
    ops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Book:
    kind: ClassVar[str] = "book"
    schema: ClassVar[int] = 3
    title: str
    made: dict[str, Any]
    rows: tuple[Row, ...]

    def __post_init__(self):
        if not self.title:
            raise InputError("a book has a title")


def test_a_record_comes_back_as_it_was_with_a_line_a_row(tmp_path):
    book = Book('ü\n"x"', {"a": [1, {"b": 2.5}], "nothing": {}}, (Row(0, 0.5, ("a", "b")), Row(1, 1.0)))
    path = storage.write_record(tmp_path / "b.json", book, {"passed": True})
    assert storage.read_record(path, Book) == book
    value = json.loads(path.read_text())
    assert value["passed"] is True and value["kind"] == "book" and value["schema"] == 3
    assert value["rows"] == [{"seed": 0, "error": 0.5, "ops": ["a", "b"]}, {"seed": 1, "error": 1.0, "ops": []}]
    assert sum('{"seed": ' in line for line in path.read_text().splitlines()) == 2
    assert list(value)[-1] == "rows"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rows": [{"seed": 0, "error": 1}, {"seed": "x", "error": 1}]},
            r"Expected `int`, got `str` - at `\$\.rows\[1\]\.seed`",
        ),
        ({"rows": [{"seed": True, "error": 1}]}, r"Expected `int`, got `bool` - at `\$\.rows\[0\]\.seed`"),
        ({"rows": [{"error": 1}]}, r"missing required field `seed` - at `\$\.rows\[0\]`"),
        ({"rows": 3}, r"Expected `array`, got `int` - at `\$\.rows`"),
        ({"title": ""}, "a book has a title"),
        ({"made": None}, r"Expected `object`, got `null` - at `\$\.made`"),
    ],
)
def test_a_damaged_record_is_one_line_with_the_file_and_the_place(tmp_path, change, message):
    good = {"kind": "book", "schema": 3, "title": "t", "made": {}, "rows": []}
    assert storage.read_record(storage.write_json(tmp_path / "b.json", good), Book).rows == ()
    path = storage.write_json(tmp_path / "b.json", good | change)
    with pytest.raises(InputError, match=message) as problem:
        storage.read_record(path, Book)
    assert str(problem.value).startswith(f"{path} is a damaged book: ") and "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "book", "schema": 2}', "schema 2; this labkit reads schema 3"),
        ('{"kind": "film", "schema": 3}', "not a book but a film"),
        ('{"kind": "book", "schema": 3, "x": NaN}', "not a book: damaged or truncated JSON"),
        ('{"kind": "book", "sche', "not a book: damaged or truncated JSON"),
        ('{"kind": "book", "schema": 3, "x": 1e999}', "not a book: damaged or truncated JSON"),
    ],
)
def test_another_kind_or_schema_or_json_is_refused(tmp_path, text, message):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(InputError, match=message):
        storage.read_record(tmp_path / "b.json", Book)


def test_a_record_with_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        storage.write_record(tmp_path / "b.json", Book("t", {}, (Row(0, float("nan")),)))
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("value", [{}, {"a": {"b": [1, {"c": []}]}, "d": "x\ny"}, {"k": []}])
def test_rows_stand_under_what_the_object_has_already(tmp_path, value):
    path = storage.write_json(tmp_path / "t.json", value, rows=[[1, "a"], {"x": None}])
    assert json.loads(path.read_text()) == value | {"rows": [[1, "a"], {"x": None}]}
    assert path.read_text().endswith(' "rows": [\n  [1, "a"],\n  {"x": null}\n ]\n}\n')
    alone = json.dumps(value | {"rows": 0}, indent=1, ensure_ascii=False)
    assert path.read_text().startswith(alone[: alone.index(' "rows"')])
