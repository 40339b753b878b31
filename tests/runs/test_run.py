import json
from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.networks.training import TrainConfig
from labkit.oneshot.config import SearchConfig
from labkit.runs import run as runs
from labkit.system import storage

TINY = SearchConfig(
    mixture_steps=2, weight_steps=1, joint_steps=2, batch_size=16, evaluation_images=50, calibration_images=32
)


@pytest.fixture(scope="module")
def digits():
    return lk.data.digits(seed=0)


@pytest.fixture(scope="module")
def saved(space, digits, table, tmp_path_factory):
    result = lk.search(lk.Supernet(space), digits, table, TINY)
    return result, runs.save(result, tmp_path_factory.mktemp("run"), digits, table)


def copy_of(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_round_trip(saved, table, space):
    result, folder = saved
    run = runs.load(folder)
    assert run.result.point == result.point and run.result.config == result.config
    assert torch.equal(run.result.logits, result.logits)
    assert [row["loss"] for row in run.result.history] == [row["loss"] for row in result.history]
    ours, theirs = result.supernet.state_dict(), run.result.supernet.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert run.table.table_ms(result.architecture) == table.table_ms(result.architecture) and run.space == space


def test_no_pickle_on_disk(saved):
    _, folder = saved
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".parquet", ".safetensors", ".onnx"}


def test_the_image_set_is_made_again_and_compared(saved, digits, tmp_path):
    folder = copy_of(saved[1], tmp_path)
    assert runs.load(folder).image_set().digest == digits.digest
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["digest"] = "0" * 12
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(lk.InputError, match="differ from those of the search"):
        runs.load(folder).image_set()


def test_damaged_runs_are_refused(saved, tmp_path):
    with pytest.raises(lk.InputError, match="no search run can be read"):
        runs.load(tmp_path / "none")
    folder = copy_of(saved[1], tmp_path)
    manifest = (folder / "manifest.json").read_text()
    for broken, says in (
        (manifest[: len(manifest) // 2], "truncated"),
        (manifest.replace('"estimator"', '"estimater"'), "knows no setting estimater"),
        (manifest.replace('"point"', '"pont"'), "damaged"),
    ):
        (folder / "manifest.json").write_text(broken)
        with pytest.raises(lk.InputError, match=says):
            runs.load(folder)
    (folder / "manifest.json").write_text(manifest)
    (folder / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(lk.InputError, match="no tensors can be read"):
        runs.load(folder)


def changed(path, *keys, to):
    """The JSON of `path` with another value at the place that `keys` lead to."""
    value = json.loads(path.read_text())
    *way, last = keys
    place = value
    for key in way:
        place = place[key]
    place[last] = to
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "keys", "to", "says"),
    [
        ("manifest.json", ("seconds",), "x", "Expected `float`, got `str` - at `$.seconds`"),
        ("manifest.json", ("data",), 5, "got `int` - at `$.data`"),
        ("manifest.json", ("config", "joint_steps"), 2.5, "Expected `int`, got `float` - at `$.config.joint_steps`"),
        ("manifest.json", ("config", "estimator"), "unsa", "did you mean unas"),
        ("manifest.json", ("point", "error"), None, "Expected `float`, got `null` - at `$.point.error`"),
        ("manifest.json", ("point", "architecture", "ops"), ["skip"] * 5, "slot 0 of five_layer offers"),
        ("manifest.json", ("space", "classes"), [1], "Expected `int`, got `array` - at `$.classes`"),
        ("latency_table.json", ("floor",), 5, "damaged"),
        ("latency_table.json", ("slots", 0, 0), {"op": "conv5x5"}, "a timing is damaged: it lacks best_ms"),
        ("latency_table.json", ("slots", 0), [], "slot 0 of the latency table has nothing"),
        ("latency_table.json", ("space",), "mobile-tiny", "the latency table is of mobile-tiny"),
    ],
)
def test_a_wrong_value_is_refused_with_its_file(saved, tmp_path, name, keys, to, says):
    folder = copy_of(saved[1], tmp_path)
    changed(folder / name, *keys, to=to)
    with pytest.raises(lk.InputError) as refused:
        runs.load(folder)
    assert says in str(refused.value) and str(folder / name) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("logits"), "lacks 'logits'"),
        (lambda tensors: tensors.update(logits=torch.zeros(3)), "logits should be (5, 3) floats; got (3,)"),
        (lambda tensors: tensors.update(logits=torch.full((5, 3), torch.nan)), "numbers of logits are not finite"),
        (lambda tensors: tensors.update({"supernet.more": torch.zeros(1)}), "Unexpected key(s)"),
    ],
)
def test_wrong_weights_are_refused_with_their_file(saved, tmp_path, change, says):
    path = copy_of(saved[1], tmp_path) / "weights.safetensors"
    change(tensors := storage.read_tensors(path))
    storage.write_tensors(path, tensors)
    with pytest.raises(lk.InputError) as refused:
        runs.load(path.parent)
    assert says in str(refused.value) and str(path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("change", [{"probs": [0.5]}, {"step": "one"}, {"phase": None}])
def test_a_wrong_history_is_refused_with_its_file(saved, tmp_path, change):
    path = copy_of(saved[1], tmp_path) / "history.parquet"
    storage.write_rows(path, [row | change for row in storage.read_rows(path)])
    with pytest.raises(lk.InputError, match=f"{path}"):
        runs.load(path.parent)


def test_the_chosen_network_is_trained_once(saved, digits, monkeypatch):
    run, config = runs.load(saved[1]), TrainConfig(epochs=2)
    network, accuracy = runs.train_chosen(run, digits, config)
    assert accuracy == pytest.approx(1 - lk.error(network, digits.test)) and accuracy > 0.5
    monkeypatch.setattr(runs, "train", lambda *_, **__: pytest.fail("trained a second time"))
    again, same = runs.train_chosen(run, digits, config)
    assert same == accuracy and lk.error(again, digits.test) == pytest.approx(1 - accuracy)
    with pytest.raises(pytest.fail.Exception):
        runs.train_chosen(run, digits, TrainConfig(epochs=3))


def test_an_exported_file_goes_with_the_network_that_it_was_made_from(saved, digits, tmp_path):
    run = runs.load(copy_of(saved[1], tmp_path))
    for name in ("network.safetensors", "trained.json"):
        (run.folder / name).unlink(missing_ok=True)
    assert runs.trained_by(run) is None
    runs.train_chosen(run, digits, TrainConfig(epochs=1))
    exported = storage.write_text(run.folder / "network.onnx", "of one epoch")
    runs.train_chosen(run, digits, TrainConfig(epochs=1))
    assert exported.exists() and runs.trained_by(run) == TrainConfig(epochs=1)
    runs.train_chosen(run, digits, TrainConfig(epochs=1, seed=1))
    assert not exported.exists() and runs.trained_by(run) == TrainConfig(epochs=1, seed=1)
    storage.write_json(run.folder / "trained.json", {"kind": "trained network", "schema": 1})
    with pytest.raises(lk.InputError, match=r"trained.json is a damaged trained network: Object missing"):
        runs.trained_by(run)


def test_a_used_folder_holds_one_run(saved, digits, table, tmp_path):
    result, folder = saved[0], copy_of(saved[1], tmp_path)
    for name in ("network.safetensors", "trained.json", "network.onnx", "export.json", "closed_loop.json"):
        (folder / name).write_text("of the earlier run")
    (folder / "checkpoints").mkdir()
    (folder / "notes.txt").write_text("mine")
    runs.save(replace(result, history=()), folder, digits, table)
    assert runs.load(folder).result.history == ()
    ours = {"manifest.json", "weights.safetensors", "latency_table.json"}
    assert {path.name for path in folder.iterdir()} == ours | {"checkpoints", "notes.txt"}


def test_a_folder_that_was_stopped_over_is_no_run(saved, digits, table, tmp_path, monkeypatch):
    folder = copy_of(saved[1], tmp_path)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.storage, "write_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        runs.save(saved[0], folder, digits, table)
    with pytest.raises(lk.InputError, match="no search run can be read"):
        runs.load(folder)


def test_a_training_that_was_stopped_is_not_taken_for_the_one_before(saved, digits, tmp_path, monkeypatch):
    run = runs.load(copy_of(saved[1], tmp_path))
    runs.train_chosen(run, digits, TrainConfig(epochs=1))
    write_json = runs.storage.write_json

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.storage, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        runs.train_chosen(run, digits, TrainConfig(epochs=1, seed=1))
    monkeypatch.setattr(runs.storage, "write_json", write_json)
    _, accuracy = runs.train_chosen(run, digits, TrainConfig(epochs=1))
    network, read_back = runs.train_chosen(run, digits, TrainConfig(epochs=1))
    assert accuracy == read_back == pytest.approx(1 - lk.error(network, digits.test))
