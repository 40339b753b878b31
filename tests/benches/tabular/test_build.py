"""A build of a tabular benchmark: stopped, resumed, in processes, and trained again."""

import json

import pytest
import torch

from labkit.benches.tabular import build, report
from labkit.benches.tabular import table as tabular
from labkit.networks.training import TrainConfig
from labkit.system import storage
from labkit.system.errors import InputError

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
