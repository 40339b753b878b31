"""The protocol of the benches, on a bench of squares that takes no time."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from labkit.benches import deadlines, estimators, optimize, record, step, supernet, sweep
from labkit.benches.record import Bench, option
from labkit.cli import benches
from labkit.system import storage
from labkit.system.errors import InputError


@dataclass(frozen=True)
class Square:
    n: int
    square: int


@dataclass(frozen=True)
class Squares(Bench[Square]):
    kind, schema, row, resumes = "squares bench", 3, Square, True
    growing: ClassVar[str | None] = "numbers"
    upto: int = option(4, "how many")
    power: int = option(2, "of each")
    stop_at: int | None = None

    def request(self):
        return {"power": self.power, "numbers": {str(n): n for n in range(self.upto)}}

    def run(self, done, on_row):
        rows = list(done)
        for n in range(len(done), self.upto):
            if n == self.stop_at:
                raise KeyboardInterrupt
            rows.append(Square(n, n**self.power))
            on_row(rows[-1])
        return rows

    def verdicts(self, rows):
        return (("no square is above 10", all(row.square <= 10 for row in rows)),)

    def derived(self, rows):
        return {"sum": sum(row.square for row in rows)}

    def text(self, rows):
        return "\n".join(f"{row.n}: {row.square}" for row in rows)


def test_a_record_is_what_was_run(tmp_path):
    seen, out = [], tmp_path / "s.json"
    outcome = record.record(Squares(), out, made={"command": "c"}, on_row=seen.append)
    assert outcome.rows == tuple(Square(n, n * n) for n in range(4)) == tuple(seen)
    assert outcome.passed and outcome.text == "0: 0\n1: 1\n2: 4\n3: 9"
    assert json.loads(out.read_text()) == json.loads(json.dumps(outcome.value))
    assert outcome.value["sum"] == 14 and outcome.value["verdicts"] == [
        {"claim": "no square is above 10", "holds": True}
    ]
    saved = record.load(Squares, out)
    assert saved.rows == outcome.rows and saved.made == {"command": "c"} and saved.asked["power"] == 2


def test_a_stopped_bench_resumes_and_says_who_made_what(tmp_path):
    out, made, seen = tmp_path / "s.json", [], []
    with pytest.raises(KeyboardInterrupt):
        record.record(Squares(stop_at=2), out, made={"command": "first", "date": "d"})
    assert [row["n"] for row in json.loads(out.read_text())["rows"]] == [0, 1]
    outcome = record.record(Squares(upto=5), out, made={"command": "second"}, on_start=made.append, on_row=seen.append)
    assert made == [2] and [row.n for row in seen] == [2, 3, 4] and len(outcome.rows) == 5
    assert outcome.value["made"] == {"command": "second", "earlier": [{"command": "first", "date": "d", "rows": 2}]}
    assert not outcome.passed, "16 is above 10"
    again = record.record(Squares(upto=5), out, made={"command": "second", "date": "later"})
    assert again.rows == outcome.rows and len(again.value["made"]["earlier"]) == 1


def test_another_request_and_other_files_are_refused(tmp_path):
    out = tmp_path / "s.json"
    record.record(Squares(), out)
    for other in (Squares(power=3), Squares(upto=3)):
        with pytest.raises(InputError, match="of another bench"):
            record.record(other, out)
    value = json.loads(out.read_text())
    value["rows"][1]["square"] = "one"
    with pytest.raises(InputError, match=r"s.json is a damaged squares bench: .*`int`.*at `\$.rows\[1\].square`"):
        record.record(Squares(), storage.write_json(out, value))
    with pytest.raises(InputError, match="schema 2; this labkit reads schema 3"):
        record.record(Squares(), storage.write_json(out, value | {"schema": 2}))


def test_nothing_is_written_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert record.record(Squares()).passed and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", benches.BENCHES)
def test_a_bench_says_whether_it_resumes_and_its_options_have_words(name):
    bench = benches._class(name)
    assert bench.resumes is (name in benches.RESUME) and bench.kind.endswith(" bench") and bench.schema >= 1
    assert all(one.metadata["says"] for one in record.options(bench))


@pytest.mark.parametrize(
    ("module", "bench", "name"),
    [
        (estimators, estimators.EstimatorBench, "estimators"),
        (supernet, supernet.SupernetBench, "supernet"),
        (supernet, supernet.SupernetBench, "shared-weights"),
        (sweep, sweep.SweepBench, "sweep"),
        (deadlines, deadlines.DeadlineBench, "deadlines"),
        (step, step.StepBench, "step"),
        (step, step.StepBench, "step-h200"),
        (optimize, optimize.OptimizeBench, "optimize"),
    ],
)
def test_the_shipped_files_hold_what_they_held(module, bench, name):
    """What is read, written as JSON, is the raw file, row by row and key by key."""
    raw = json.loads((storage.DATA / "results" / f"{name}.json").read_text())
    saved = record.load(bench, name)
    to_json = {
        "estimators": lambda rows: estimators.EstimatorBench().to_json(rows),
        "optimize": lambda rows: optimize.OptimizeBench().to_json(rows),
        "step": lambda rows: step.StepBench().to_json(rows),
        "step-h200": lambda rows: step.StepBench().to_json(rows),
    }.get(name, lambda rows: Bench.to_json(None, rows))
    written = json.loads(json.dumps(to_json(saved.every)))
    assert written["rows"] == raw["rows"] and saved.made == raw["made"] and saved.asked == raw.get("asked")
    assert written.get("within") == raw.get("within")
    damaged = replace(saved, rows=saved.rows[1:])
    assert json.loads(json.dumps(to_json(damaged.every)))["rows"] != raw["rows"]


def test_a_loader_reads_the_rows_of_its_bench(tmp_path):
    load = record.loader(Squares, "squares")
    outcome = record.record(Squares(), tmp_path / "s.json")
    assert load(tmp_path / "s.json") == outcome.rows
    assert load.__name__ == "load" and load.__module__ == __name__ and "squares bench" in load.__doc__
    with pytest.raises(InputError, match=r"no squares bench can be read at .*results/squares.json"):
        load()
    assert supernet.load() == record.load(supernet.SupernetBench, "supernet").rows


def test_rows_of_several_kinds_are_all_of_a_record():
    saved = record.load(optimize.OptimizeBench, "optimize")
    assert saved.every == (*saved.rows, *saved.within) and saved.within


@pytest.mark.parametrize("bench", [deadlines.DeadlineBench, supernet.SupernetBench, sweep.SweepBench])
def test_a_bench_on_the_tabular_benchmark_reads_the_one_that_is_named(bench):
    assert bench().known.space.name == "five_layer"
    with pytest.raises(InputError, match="no tabular benchmark can be read"):
        _ = bench(tabular="nope").known
