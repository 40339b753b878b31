"""The tabular benchmark: what ships, what it costs to ask it, and a build that is stopped and goes on."""

import dataclasses
import json
import shutil

import pytest
import torch

import labkit as lk
from labkit.benches.tabular import build, report, timing
from labkit.benches.tabular import table as tabular
from labkit.cli import main
from labkit.latency.cards import Timing
from labkit.networks.training import RECIPE, TrainConfig
from labkit.spaces import Edge, SearchSpace
from labkit.system import storage
from labkit.system.errors import InputError


@pytest.fixture(scope="module")
def known():
    try:
        return tabular.load()
    except InputError as problem:
        if "lacks" not in str(problem):
            raise
        pytest.skip(f"the shipped tabular benchmark is not finished: {problem}")


# --- what ships ---------------------------------------------------------------------------------------------


def test_the_shipped_table_is_whole_and_small_and_good_enough_to_judge_by(known):
    assert known.space.size == 243 and known.seeds >= 3 and len(known.complexity) == 243
    assert all(bar.passed for bar in report.thresholds(known)), report.to_text(known)
    folder = storage.DATA / "tabular" / "five_layer"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 1_000_000
    assert known.recipe["data"]["test"] >= 10_000
    assert known.recipe["training"] == {k: v for k, v in RECIPE.__dict__.items() if k != "seed"}


def test_the_shipped_table_is_of_the_images_that_are_made_here(known):
    assert known.recipe["data"]["digest"] == lk.data.by_name("glyphs-hard").digest


def test_the_shipped_latencies_stand_beside_the_sums_of_parts(known):
    names = {timed.name.partition("/")[2] for timed in known.latencies}
    assert {f"{runtime}-b{batch}" for runtime in ("torch", "onnxruntime") for batch in (1, 32)} <= names
    for timed in known.latencies:
        assert len(timed.timings) == 243 and timed.card.origin == "recorded" and timed.card.device
        table = timing.table_of(known.space, timed)
        assert known.latency_like(table.card) is timed
        assert list(timed.table_ms) == pytest.approx([table.table_ms(a) for a in known.space], abs=1e-5)


def test_the_default_latency_rises_from_pooling_to_the_large_convolution(known):
    reports = {front.latency: front for front in report.fronts(known)}
    assert reports[known.latency().name].pooling_first


# --- asking it ----------------------------------------------------------------------------------------------


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


# --- building one -------------------------------------------------------------------------------------------


@pytest.fixture
def small(request):
    """A space of four architectures, an image set of a few hundred, an epoch."""
    edges = (Edge(3, 4, 4, fixed="conv3x3"), Edge(4, 4, slot=0), Edge(4, 4, slot=1))
    space = SearchSpace("small", (("conv3x3", "maxpool3x3"),) * 2, edges, (3, 32, 32), 10, "flat")
    lk.spaces.SPACES.register("small", lambda classes=10: space)
    request.addfinalizer(lambda: lk.spaces.SPACES.remove("small"))
    return space


CONFIG = TrainConfig(epochs=1, batch_size=64)


def test_a_build_goes_on_where_a_kill_stopped_it(small, tmp_path, capsys):
    once = lambda **more: build.build(tmp_path / "t", small, data_name="digits", config=CONFIG, workers=1, **more)
    assert once(seeds=1) == 4
    rows = tmp_path / "t" / "trained.jsonl"
    whole = rows.read_text()
    lines = whole.splitlines(keepends=True)
    rows.write_text("".join(lines[:2]) + lines[2][:25])  # killed in the middle of a line
    assert once(seeds=1) == 2
    key = lambda line: {k: v for k, v in json.loads(line).items() if k != "seconds"}
    again = rows.read_text().splitlines()
    assert sorted(map(str, map(key, again))) == sorted(map(str, map(key, whole.splitlines())))
    assert once(seeds=1) == 0, "nothing is trained twice"
    with pytest.raises(InputError, match="lacks 4 of 8"):  # another seed was asked for and not yet trained
        manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
        storage.write_json(tmp_path / "t" / "manifest.json", {**manifest, "seeds": 2})
        tabular.load(tmp_path / "t")
    assert once(seeds=2) == 4
    loaded = tabular.load(tmp_path / "t")
    assert loaded.seeds == 2 and loaded.test_error.shape == (4, 2)
    for i, architecture in enumerate(small):
        row = next(json.loads(line) for line in rows.read_text().splitlines() if str(architecture) in line)
        assert 1 - loaded.test_error[i, row["seed"]].item() == pytest.approx(row["test_accuracy"])

    trained_again = build.retrain(loaded, 3, workers=1)
    for row in trained_again:
        assert row["test_accuracy"] == pytest.approx(row["recorded_test_accuracy"], abs=1e-9), "to the bit"
    assert report.repeat_threshold(loaded, trained_again).value < 1e-6


def test_processes_train_what_one_does(small, tmp_path):
    for workers in (1, 2):
        build.build(tmp_path / f"{workers}", small, data_name="digits", seeds=1, config=CONFIG, workers=workers)
    one, two = (tabular.load(tmp_path / f"{workers}") for workers in (1, 2))
    assert torch.equal(one.test_error, two.test_error) and one.recipe == two.recipe


def test_another_recipe_needs_another_folder(small, tmp_path):
    build.build(tmp_path, small, data_name="digits", seeds=1, config=CONFIG, workers=1)
    with pytest.raises(InputError, match="another space or recipe"):
        build.build(tmp_path, small, data_name="digits", seeds=1, config=TrainConfig(epochs=2), workers=1)


def test_a_row_of_the_shipped_table_comes_out_again(known):
    """Retrained from nothing here: the same to the noise of a seed, and on the machine that made it to the bit."""
    rows = build.retrain(known, 1, seed=3)
    assert report.repeat_threshold(known, rows).passed, rows


def test_end_to_end_latencies_keep_their_order_on_the_way_to_disk_and_back(small, tmp_path):
    table = lk.LatencyTable.measure(small, seconds=0.01, rounds=3)
    timed = timing.time_all(small, table, seconds=0.01, rounds=3)
    tabular.save_timed(timed, small, tmp_path / "torch-b1.json")
    back = tabular._load_timed(tmp_path / "torch-b1.json", small)
    assert back.timings[2].best_ms == pytest.approx(timed.timings[2].best_ms, abs=1e-6)
    assert back.card == timed.card.recorded() and isinstance(back.timings[0], Timing)
    assert list(back.table_ms) == pytest.approx([table.table_ms(a) for a in small], abs=1e-6)


# --- the report ---------------------------------------------------------------------------------------------


def test_a_table_of_noise_fails_the_thresholds(known):
    """The negative control of the report: accuracies drawn anew for every seed."""
    noise = torch.rand(243, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bad = dataclasses.replace(known, test_error=noise)
    failed = {bar.name for bar in report.thresholds(bad) if not bar.passed}
    assert any("rank agreement" in name for name in failed) and any("standard deviation" in name for name in failed)


def test_ties_with_the_best_are_named_as_ties(known):
    rows = report.ranked(known)
    assert rows[0].tied_with_best and not rows[-1].tied_with_best
    assert [row.error for row in rows] == sorted(row.error for row in rows)
    certain = dataclasses.replace(known, test_error=known.error[:, None].expand(-1, 3))
    assert sum(row.tied_with_best for row in report.ranked(certain)) <= 1, "without noise nothing is tied"


def test_a_deadline_reaches_the_whole_front_and_a_weight_its_corners(known):
    for front in report.fronts(known):
        assert front.by_deadline == front.size >= front.by_hinge >= front.by_weight >= 2


def test_supported_points_are_those_that_a_sweep_of_weights_finds(known):
    """The hull against brute force over many weights."""
    points = known.points()
    best = lambda w: min(points, key=lambda p: (p.error + w * p.latency_ms, p.latency_ms))
    swept = {best(w.item()) for w in torch.logspace(-4, 4, 4_000, dtype=torch.float64)} | {best(0.0)}
    assert swept <= set(lk.pareto.supported(known.frontier()))
    assert len(lk.pareto.supported(known.frontier())) - len(swept) <= 1, (
        "a weight's interval may lie between two of ours"
    )


# --- the command line ---------------------------------------------------------------------------------------


def test_report_on_the_command_line(known, capsys):
    code = main(["tabular", "report", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert value["passed"] is (code == 0) is all(bar["passed"] for bar in value["thresholds"])
    assert value["architectures"] == 243 and len(value["fronts"]) == len(known.latencies) >= 1
    assert main(["tabular", "report"]) == code
    assert "tied with it" in capsys.readouterr().out


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
