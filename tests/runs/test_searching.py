"""A search that leaves a folder: the same as the act on shared weights, and resumed where it was stopped."""

import pytest
import torch

import labkit as lk
from labkit import runs
from labkit.oneshot import selection
from labkit.oneshot.baselines import random_search
from labkit.oneshot.run import SearchRun

TINY = lk.SearchConfig(
    mixture_steps=2, weight_steps=1, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32,
    latency_weight=0.1, seed=2,
)  # fmt: skip
ONE = lk.TrainConfig(epochs=1, batch_size=64)
STAGES = lk.SelectionConfig(scan=4, entrants=2, images=128, training=ONE, finalists=2, final=ONE, again=0)


@pytest.fixture(scope="module")
def digits():
    return lk.data.digits(seed=0)


def same(one, other):
    assert one.point == other.point and torch.equal(one.logits, other.logits)
    ours, theirs = one.supernet.state_dict(), other.supernet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_is_the_search_from_the_weights_of_its_seed(space, digits, table, tmp_path):
    run = runs.search(tmp_path / "a", space, digits, table, TINY)
    same(run.result, lk.search(lk.Supernet(space, TINY.seed), digits, table, TINY))
    assert run.folder == tmp_path / "a" and run.data.digest == digits.digest
    assert run.table.slots == table.slots and run.table.card.origin == "recorded"
    assert not (run.folder / "checkpoints").exists()
    other = lk.search(lk.Supernet(space, TINY.seed + 1), digits, table, TINY)
    assert not torch.equal(run.result.logits, other.logits), "negative control: other weights are another search"


def test_the_baseline_is_random_search(space, digits, table, tmp_path):
    run = runs.search(tmp_path, space, digits, table, TINY, random=True)
    expected = random_search(lk.Supernet(space, TINY.seed), digits, table, TINY)
    assert run.result.point == expected.point and run.result.method == "random search"


def test_a_stopped_search_resumes_and_ends_the_same(space, digits, table, tmp_path, monkeypatch):
    whole = runs.search(tmp_path / "whole", space, digits, table, TINY)
    step, steps = SearchRun._next, []

    def stopped(run):
        if len(steps) == 4:
            monkeypatch.setattr(SearchRun, "_next", step)
            raise KeyboardInterrupt
        steps.append(step(run))

    monkeypatch.setattr(SearchRun, "_next", stopped)
    monkeypatch.setattr("labkit.system.checkpoints.Checkpoints.every", 1, raising=False)
    with pytest.raises(KeyboardInterrupt):
        runs.search(tmp_path / "part", space, digits, table, TINY)
    same(runs.search(tmp_path / "part", space, digits, table, TINY).result, whole.result)


def test_the_second_stage_decides(space, digits, table, tmp_path):
    run = runs.search(tmp_path, space, digits, table, TINY, selection=STAGES)
    first = lk.search(lk.Supernet(space, TINY.seed), digits, table, TINY)
    (expected,) = selection.select([first], digits, table, STAGES)
    assert run.result.point == expected.point and run.result.point.error_from == "trained"
    assert run.result.selection == STAGES
