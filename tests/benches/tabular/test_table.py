"""The tabular benchmark: what ships, what it answers, and files that are damaged."""

import dataclasses
import json
import shutil

import pytest
import torch

import labkit as lk
from labkit.benches.tabular import report
from labkit.benches.tabular import table as tabular
from labkit.cli import main
from labkit.networks.training import RECIPE
from labkit.system import storage
from labkit.system.errors import InputError


def test_the_shipped_table_is_whole_and_small_and_good_enough_to_judge_by(known):
    assert known.space.size == 243 and known.seeds >= 3 and len(known.complexity) == 243
    assert all(bar.passed for bar in report.thresholds(known)), report.to_text(known)
    folder = storage.DATA / "tabular" / "five_layer"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 1_000_000
    assert known.recipe["data"]["test"] >= 10_000
    assert known.recipe["training"] == {k: v for k, v in RECIPE.__dict__.items() if k != "seed"}


def test_the_shipped_table_is_of_the_images_that_are_made_here(known):
    assert known.recipe["data"]["digest"] == lk.data.by_name("glyphs-hard").digest


def test_latencies_are_those_of_a_device(known):
    names = [timed.name for timed in known.latencies]
    twice = next(kind for kind in ("onnxruntime-b1", "torch-b32") if sum(n.endswith("/" + kind) for n in names) > 1)
    both = sorted(name for name in names if name.endswith("/" + twice))
    assert known.latency(twice).name == both[0], "the first by name"
    assert [known.latency(name).name for name in both] == both
    assert not torch.equal(known.ms(both[0]), known.ms(both[1]))
    with pytest.raises(lk.InputError, match=r"has latencies of .*; got 'torch-b7'"):
        known.latency("torch-b7")
    with pytest.raises(lk.InputError, match="time its architectures on this device"):
        known.latency_like(dataclasses.replace(known.latency().card, device="a toaster"))


@pytest.mark.parametrize("latency", [None, "onnxruntime-b1"])
def test_the_frontier_is_that_of_a_plain_double_loop(known, latency):
    points = known.points(latency)
    by_hand = {
        str(p.architecture)
        for p in points
        if not any(
            q.error <= p.error and q.latency_ms <= p.latency_ms and (q.error, q.latency_ms) != (p.error, p.latency_ms)
            for q in points
        )
    }
    assert {str(p.architecture) for p in known.frontier(latency)} == by_hand


def test_costs_are_error_plus_what_the_milliseconds_cost(known):
    ms, error = known.ms(), known.test_error.mean(1)
    middle = ms.median().item()
    assert torch.allclose(known.as_cost().values, error)
    assert torch.allclose(known.as_cost(latency_weight=0.3).values, error + 0.3 * ms)
    hinge = known.as_cost(latency_weight=0.3, target_ms=middle)
    assert torch.allclose(hinge.values, error + 0.3 * (ms - middle).clamp_min(0))
    late = known.as_cost(deadline_ms=middle)
    assert (late.values[ms > middle] == 1).all() and torch.equal(late.values[ms <= middle], error[ms <= middle])
    assert torch.allclose(known.as_cost(part="valid").values, known.valid_error.mean(1))
    by_table = known.as_cost(latency_weight=1.0, by="table", latency="onnxruntime-b1")
    assert torch.allclose(by_table.values - error, torch.tensor(known.latency("onnxruntime-b1").table_ms).double())


def test_regret_is_exact(known):
    cost = known.as_cost(latency_weight=0.2)
    best = min(known.space, key=cost.of)
    assert cost.best() == best and cost.regret(best) == 0
    other = known.space[17]
    assert cost.regret(other) == pytest.approx(cost.of(other) - cost.of(best))
    assert cost(known.space.encode(other)[None].double()).item() == pytest.approx(cost.of(other))


def test_a_deadline_keeps_to_it_and_misses_nothing_better(known):
    deadline = known.ms().quantile(0.3).item()
    best = known.as_cost(deadline_ms=deadline).best()
    point = known.frontier().best(max_ms=deadline)
    assert known.as_cost().of(best) == pytest.approx(point.error)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"latency": "abacus", "latency_weight": 1.0}, "has latencies of"),
        ({"by": "guess", "latency_weight": 1.0}, "by the 'table'"),
        ({"part": "train"}, "'test' or the 'valid'"),
        ({"deadline_ms": 1e-9}, "no architecture meets"),
        ({"latency_weight": -1.0}, "at least 0"),
    ],
)
def test_what_the_table_cannot_answer_is_refused(known, ask, says):
    with pytest.raises(InputError, match=says):
        known.as_cost(**ask)


@pytest.fixture
def copied(tmp_path):
    """A copy of the shipped benchmark, to be damaged."""
    return shutil.copytree(storage.DATA / "tabular" / "five_layer", tmp_path / "copied")


def changed_rows(folder, change):
    rows = storage.read_lines(folder / "trained.jsonl")
    change(rows)
    storage.write_lines(folder / "trained.jsonl", rows)


def changed_json(file, change):
    value = json.loads(file.read_text())
    change(value)
    storage.write_json(file, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda rows: rows[3].update(seed="one"),
            r"trained.jsonl is damaged: Expected `int`, got `str` - at `\$\[3\].seed`",
        ),
        (lambda rows: rows[7].pop("macs"), r"trained.jsonl is damaged: .*required field `macs` - at `\$\[7\]`"),
        (lambda rows: rows[0].pop("test_accuracy"), r"copied is damaged \(must be real number, not NoneType\)"),
        (lambda rows: rows.pop(), r"copied lacks 1 of 729 trained networks"),
    ],
)
def test_a_damaged_row_is_named(copied, change, says):
    changed_rows(copied, change)
    with pytest.raises(InputError, match=says):
        tabular.load(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.update(seeds="3"), r"manifest.json is a damaged tabular benchmark: .* at `\$.seeds`"),
        (lambda value: value.update(seeds=0), r"damaged tabular benchmark: .*at least one seed; got 0"),
        (lambda value: value.pop("recipe"), r"manifest.json is a damaged tabular benchmark: .*required field `recipe`"),
        (lambda value: value["space"].pop("classes"), r"copied is damaged \(lacks 'classes'\)"),
        (lambda value: value["space"].update(digest="0"), r"space five_layer has changed \(digest 0 then, "),
        (lambda value: value.update(seeds=4), r"lacks 243 of 972 trained networks"),
    ],
)
def test_a_damaged_manifest_is_named(copied, change, says):
    changed_json(copied / "manifest.json", change)
    with pytest.raises(InputError, match=says):
        tabular.load(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value["rows"][5].pop(), r"torch-b1.json is a damaged end-to-end latencies: .*`\$.rows\[5\]`"),
        (
            lambda value: value["rows"][2].__setitem__(4, 1.5),
            r"damaged end-to-end .*Expected `int`.*`\$.rows\[2\]\[4\]`",
        ),
        (lambda value: value["rows"].pop(), r"torch-b1.json is damaged \(lacks 'maxpool3x3-"),
        (
            lambda value: value["rows"][0].__setitem__(1, -1.0),
            r"torch-b1.json: a timing's best_ms is a positive number",
        ),
        (lambda value: value["card"].pop("versions"), r"torch-b1.json: a latency card is damaged"),
        (lambda value: value.update(space_digest="0"), r"torch-b1.json timed another five_layer \(0\): time it again"),
    ],
)
def test_damaged_latencies_are_named(copied, change, says):
    changed_json(copied / "latency" / "cpu-amd-epyc-2-cores" / "torch-b1.json", change)
    with pytest.raises(InputError, match=says) as raised:
        tabular.load(copied)
    assert "\n" not in str(raised.value)


def test_what_is_read_is_what_the_file_says(known):
    """Every tensor against the raw rows, read without the loader."""
    lines = (storage.DATA / "tabular" / "five_layer" / "trained.jsonl").read_text().splitlines()
    raw = {(row["ops"], row["seed"]): row for row in map(json.loads, lines)}
    for i, architecture in enumerate(known.space):
        for seed in range(known.seeds):
            row = raw[str(architecture), seed]
            assert known.test_error[i, seed].item() == 1 - row["test_accuracy"]
            assert known.valid_error[i, seed].item() == 1 - row["valid_accuracy"]
            assert known.seconds[i, seed].item() == row["seconds"]
        assert dataclasses.asdict(known.complexity[i]) == {k: row[k] for k in ("parameters", "macs", "activations")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tabular", "report", "nope"], "no tabular benchmark can be read"),
        (["tabular", "report", "CUT"], "is not a tabular benchmark: damaged or truncated"),
        (["tabular", "build", "--space", "mobile-tiny", "--out", "OUT"], "3,630,312 architectures; at most 5,000"),
        (["tabular", "build", "--seeds", "0", "--out", "OUT"], "at least one seed"),
        (["tabular", "build", "--workers", "0", "--out", "OUT"], "at least one worker"),
        (["tabular", "build", "--data", "nope", "--out", "OUT"], "image sets are glyphs, glyphs-hard, digits"),
        (["tabular", "latency", "nope", "--out", "OUT/t.json"], "no latency table is called 'nope'"),
        (["tabular", "latency", "mobile-tiny-torch-b1", "--out", "OUT/t.json"], "can all be timed"),
        (["tabular"], "the following arguments are required: ACT"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, says):
    cut = tmp_path / "cut"
    shutil.copytree(storage.DATA / "tabular" / "five_layer", cut)
    manifest = (cut / "manifest.json").read_text()
    (cut / "manifest.json").write_text(manifest[: len(manifest) // 2])
    places = {"OUT": str(tmp_path / "out"), "CUT": str(cut)}
    arguments = [places.get(a, a.replace("OUT/", f"{tmp_path}/out/")) for a in arguments]
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2 and captured.err.count("\n") == 1 and says in captured.err, captured.err


def test_every_timing_has_its_sum_of_parts(known):
    timed = known.latencies[0]
    with pytest.raises(InputError, match="a sum of parts for each timing; got 242 and 243"):
        dataclasses.replace(timed, table_ms=timed.table_ms[1:])
