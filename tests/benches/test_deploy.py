"""The race of all runtimes: what is in it, what it says, and what it leaves on disk."""

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit import cli
from labkit.benches import deploy
from labkit.benches.deploy import race, to_json, to_text
from labkit.networks.complexity import count
from labkit.runs import run
from labkit.system import storage

SHORT = lk.TimingConditions(seconds=0.02)


@pytest.fixture
def few(monkeypatch):
    """The compilers of PyTorch take half a minute a precision."""
    monkeypatch.setattr(deploy, "_for", lambda device: ("torch", "onnxruntime", "tensorrt"))


def test_every_runtime_races_in_every_precision_it_takes(few, space, data):
    seen = []
    races = race(lk.derive(space, space[0]), data, SHORT, batch_sizes=(1, 4), on_race=seen.append)
    assert list(races) == seen and [one.batch_size for one in races] == [1, 4]
    for one in races:
        names = [row.label for row in one.rows]
        assert names[:3] == ["torch", "torch fp16", "torch bf16"]
        assert names[3:] == ["onnxruntime", "onnxruntime fp16", "onnxruntime int8", "tensorrt"]
        assert one.rows[-1].measurement is None and "NVIDIA GPU" in one.rows[-1].reason
        assert all(row.measurement.card.batch_size == one.batch_size for row in one.rows[:-1])
        assert one.fastest("fp32").label == "onnxruntime" and one.row("torch", "bf16").label == "torch bf16"
        assert one.row("tensorrt", "fp32") is None and one.fastest("fp8") is None
    rows = json.loads(json.dumps(to_json(races)))
    assert len(rows) == 14 and rows[7]["batch_size"] == 4 and rows[7]["architecture"] == str(space[0])
    assert "than eager" in to_text(races) and "batch 4" in to_text(races)
    assert 0 < races[1].floor_ms < races[1].row("torch", "fp32").measurement.measured_ms
    assert "its arithmetic at" in to_text(races)


def test_the_floor_is_at_the_best_rate_seen(few, space, data, monkeypatch):
    network, rates = lk.derive(space, space[0]), iter((2e6, 5e6, 4e6))
    monkeypatch.setattr(deploy, "macs_per_ms", lambda device: next(rates))
    races = race(network, data, SHORT, batch_sizes=(1, 4))
    macs = count(network, space.image).macs
    assert [one.floor_ms for one in races] == [pytest.approx(macs / 5e6), pytest.approx(4 * macs / 5e6)]


def test_cards_and_floor_are_of_the_images_that_were_timed(few, data, monkeypatch):
    monkeypatch.setattr(deploy, "macs_per_ms", lambda device: 1e6)
    space = lk.spaces.mobile("tiny")
    halved = lambda part: replace(part, pixels=part.pixels[:, :, ::2, ::2].contiguous())
    small = replace(data, train=halved(data.train), valid=halved(data.valid), test=halved(data.test))
    network = lk.derive(space, space[0])
    (one,) = race(network, small, SHORT, batch_sizes=(2,))
    shapes = {row.measurement.card.input_shape for row in one.rows if row.measurement}
    assert shapes == {(3, 16, 16)} and one.row("onnxruntime", "int8") is not None
    assert one.floor_ms == pytest.approx(2 * count(network, (3, 16, 16)).macs / 1e6)


def test_a_runtime_that_computes_something_else_does_not_win(few, space, data):
    (one,) = race(lk.derive(space, space[0]), data, SHORT, batch_sizes=(1,))
    wrong = replace(one, rows=tuple(replace(row, parity_error=0.5) for row in one.rows))
    assert one.fastest("int8") is not None and wrong.fastest("int8") is None


def test_a_race_outlives_its_file(few, space, data, tmp_path):
    races = race(lk.derive(space, space[0]), data, SHORT, batch_sizes=(1, 4))
    value = {"kind": deploy.KIND, "schema": deploy.SCHEMA, "made": {}, "rows": to_json(races)}
    path = storage.write_json(tmp_path / "race.json", value)
    loaded, _ = deploy.load(path)
    assert to_text(loaded) == to_text(races) and [len(one.rows) for one in loaded] == [7, 7]
    timed = loaded[1].row("onnxruntime", "int8").measurement
    assert timed.timing == races[1].row("onnxruntime", "int8").measurement.timing and timed.card.origin == "recorded"
    del value["rows"][3]["card"]
    with pytest.raises(lk.InputError, match=r"race.json is damaged .lacks 'card'.: make it again"):
        deploy.load(storage.write_json(path, value))


def test_the_command_races_the_network_that_export_would_train(few, space, table, tmp_path, capsys):
    images = lk.data.digits()
    config = lk.SearchConfig(
        mixture_steps=1, weight_steps=1, joint_steps=1, batch_size=32, evaluation_images=64, calibration_images=32
    )
    found = lk.search(lk.Supernet(space), images, table, config)
    run.save(found, tmp_path / "run", images, table)
    out = tmp_path / "race.json"
    command = ["bench", "deploy", str(tmp_path / "run"), "--epochs", "1", "--batch-sizes", "2", "--seconds", "0.02"]
    assert cli.main([*command, "--out", str(out)]) == 0
    races, made = deploy.load(out)
    trained = json.loads((tmp_path / "run" / "trained.json").read_text())
    assert made["test_accuracy"] == trained["test_accuracy"] and trained["config"]["epochs"] == 1
    assert [one.batch_size for one in races] == [2] and races[0].row("onnxruntime", "int8").accuracy_drop is not None
    without = [word for word in command if word not in ("--epochs", "1")]
    assert cli.main([*without, "--seconds", "0"]) == 2 and "--seconds" in capsys.readouterr().err
    assert cli.main([*without, "--epochs", "0"]) == 2 and "needs at least 1 epoch" in capsys.readouterr().err
    assert cli.main(without) == 0, "what is trained is taken as it is"
    assert json.loads((tmp_path / "run" / "trained.json").read_text()) == trained


def test_the_shipped_race_has_both_batches_and_nothing_but_the_same_answers():
    races, made = deploy.load()
    assert [one.batch_size for one in races] == [1, 32] and made["data"]["name"] == "glyphs-hard"
    for one in races:
        assert all(row.computes_the_same for row in one.rows if row.available), to_text(races)
        assert one.row("torch-channels-last", "fp32") and one.row("torch-compile", "fp32"), "what eager is held beside"
        for precision in ("fp32", "int8"):
            assert one.fastest(precision).speedup > one.row("torch-compile", "fp32").speedup > 1


def test_the_runtimes_are_those_of_the_device_and_what_could_be_deployed():
    assert {"torch", "torch-aot", "onnxruntime", "tensorrt-rtx"} <= set(deploy._for("cpu"))
    assert "torch-cuda-graph" not in deploy._for("cpu") and "torch-cuda-graph" in deploy._for("cuda")


def test_impossible_batches_are_refused(space, data):
    for sizes in ((), (0,), (1, -4)):
        with pytest.raises(lk.InputError, match="batches have at least one image"):
            race(lk.derive(space, space[0]), data, batch_sizes=sizes)


def test_the_shipped_race_of_a_gpu():
    races, made = deploy.load("gpu-nvidia-h200/mobile-tiny")
    assert [one.batch_size for one in races] == [1, 64] and made["device"] == "NVIDIA H200"
    for one in races:
        assert all(row.computes_the_same for row in one.rows if row.available)
        graph, half = one.row("torch-cuda-graph", "fp32"), one.row("torch-cuda-graph", "fp16")
        assert half.speedup > graph.speedup > 3 and one.row("torch", "fp16").speedup < 1
        assert not graph.measurement.card.tf32 and graph.measurement.card.capability == "9.0"
        assert graph.speedup > 2 * one.row("torch-compile", "fp32").speedup > 2
        assert {row.name for row in one.rows if row.reason} >= {"torch-aot", "tensorrt-rtx"}
    with pytest.raises(lk.InputError, match="can be read"):
        deploy.load("gpu-nvidia-h200/none")
