"""Checkpoints: whole or not at all; and a search that was stopped ends as if it had not been."""

import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import labkit as lk
from labkit import Checkpoints, SearchConfig
from labkit.oneshot.baselines import random_search
from labkit.oneshot.run import SearchRun
from labkit.oneshot.searching import MAY_CHANGE
from labkit.system.checkpoints import Checkpoint

TINY = SearchConfig(
    mixture_steps=6, weight_steps=4, joint_steps=10, batch_size=16, evaluation_images=100, calibration_images=64
)


def a_checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"x": torch.full((3,), float(step))}, {"passes": step / 3})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    folder = Checkpoints(tmp_path / "new", keep=None)
    assert folder.newest() is None and folder.steps == ()
    for step in (5, 10, 15):
        assert folder.save(a_checkpoint(step))
    assert folder.steps == (5, 10, 15)
    back = folder.at(10)
    assert torch.equal(back.tensors["x"], torch.full((3,), 10.0)) and back.record == {"passes": 10 / 3}
    assert folder.newest().step == 15
    with pytest.raises(lk.InputError, match=r"no checkpoint of step 7 in .*; there are: 5, 10, 15"):
        folder.at(7)
    folder.clear()
    assert not folder.folder.exists()


def test_only_the_newest_are_kept(tmp_path):
    folder = Checkpoints(tmp_path, keep=2)
    for step in range(1, 6):
        folder.save(a_checkpoint(step))
    assert folder.steps == (4, 5)
    assert len(list(tmp_path.iterdir())) == 4, "nothing of the older ones is left"
    alone = Checkpoints(tmp_path, keep=1)
    alone.save(a_checkpoint(6))
    assert alone.steps == (6,)
    for changes in ({"every": 0}, {"keep": 0}):
        with pytest.raises(lk.InputError, match="are at least 1; got"):
            Checkpoints(tmp_path, **changes)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def alter_record(path: Path) -> None:
    path.write_text(path.read_text().replace('"passes": 3.33', '"passes": 4.33'))


def let_a_number_overflow(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace('"passes": 3.3333333333333335', '"passes": 3.333333333333e335'))
    assert path.read_text() != text


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        ("safetensors", cut),
        ("safetensors", flip_last_byte),
        ("safetensors", Path.unlink),
        ("safetensors", replace_by_a_folder),
        ("json", cut),
        ("json", alter_record),
        ("json", let_a_number_overflow),
        ("json", lambda path: path.write_text("[]")),
        ("json", lambda path: path.write_text('{"kind": "checkpoint", "schema": 1}')),
    ],
)
def test_a_damaged_one_is_passed_over_aloud(tmp_path, suffix, damage):
    folder = Checkpoints(tmp_path)
    folder.save(a_checkpoint(5))
    folder.save(a_checkpoint(10))
    damage(tmp_path / f"step-000010.{suffix}")
    with pytest.warns(UserWarning, match="taking the one before it"):
        assert folder.newest().step == 5


def test_a_full_disk_leaves_the_last_good_one(tmp_path):
    """A limit on the size of files stands for the disk: writing fails half way, as on a full one."""
    folder = Checkpoints(tmp_path)
    folder.save(a_checkpoint(5))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = Checkpoint(10, {"x": torch.zeros(100_000)}, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.warns(UserWarning, match="no checkpoint of step 10 could be written"):
            assert not folder.save(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.newest().step == 5 and len(list(tmp_path.iterdir())) == 2
    assert folder.save(big) and folder.newest().step == 10


def same(a: lk.SearchResult, b: lk.SearchResult) -> bool:
    """To the bit, but for the seconds."""
    weights, others = a.supernet.state_dict(), b.supernet.state_dict()
    return (
        torch.equal(a.logits, b.logits)
        and all(torch.equal(weights[name], others[name]) for name in weights)
        and (a.history, a.passes, a.point, a.evaluated) == (b.history, b.passes, b.point, b.evaluated)
    )


@pytest.mark.parametrize("estimator", ["unas", "unas-fitted", "reinforce"])  # the last two remember
def test_a_search_taken_up_at_any_step_ends_as_if_never_stopped(space, data, table, estimator, tmp_path):
    supernet = lk.Supernet(space, seed=0)
    config = replace(TINY, estimator=estimator, deadline_ms=sum(table.range_ms()) / 2)
    whole = lk.search(supernet, data, table, config)
    for stop in (1, 6, 13, 20):
        folder = Checkpoints(tmp_path / f"{stop}", every=1)
        SearchRun(supernet, data, config, table).advance(stop, folder)
        assert folder.steps[-1] == stop
        assert same(lk.search(supernet, data, table, config, checkpoints=folder), whole)
    other = lk.search(supernet, data, table, replace(config, seed=1))
    assert not same(other, whole), "the comparison can fail"


def test_what_a_stopwatch_has_said_is_taken_up_as_well(space, data, table, tmp_path):
    watch = lambda weights: table(weights) * (1 + 0.5 * weights[:, 0, 0])
    supernet, config = lk.Supernet(space), replace(TINY, deadline_ms=sum(table.range_ms()) / 2)
    whole = lk.search(supernet, data, table, config, measured_ms=watch)
    SearchRun(supernet, data, config, table, watch).advance(16, Checkpoints(tmp_path, every=8))
    assert same(lk.search(supernet, data, table, config, measured_ms=watch, checkpoints=Checkpoints(tmp_path)), whole)


@pytest.mark.parametrize("weights_on", ["relaxed", "fair", "distilled"])
def test_every_setting_is_taken_up(space, data, table, weights_on, tmp_path):
    settings = {"weight_average": 0.5, "architectures": 4, "gap": "paired", "softening": 0.05, "logit_lr_end": 0.3}
    supernet, config = lk.Supernet(space), replace(TINY, weights_on=weights_on, **settings)
    whole = lk.search(supernet, data, table, config)
    for stop in (8, 14):  # before weights are averaged, and after
        folder = Checkpoints(tmp_path / f"{stop}", every=1)
        SearchRun(supernet, data, config, table).advance(stop, folder)
        assert same(lk.search(supernet, data, table, config, checkpoints=folder), whole)


def test_random_search_is_taken_up_as_well(space, data, table, tmp_path):
    supernet, folder = lk.Supernet(space), Checkpoints(tmp_path, every=3)
    whole = random_search(supernet, data, table, TINY)
    assert same(random_search(supernet, data, table, TINY, checkpoints=folder), whole)
    assert folder.newest().step == 18
    assert same(random_search(supernet, data, table, TINY, checkpoints=folder), whole)


def test_a_sweep_is_taken_up_as_well(space, data, table, tmp_path):
    supernet, weights, deadlines = lk.Supernet(space), (0.0, 1.0), (sum(table.range_ms()) / 2,)
    whole = lk.sweep(supernet, data, table, weights, TINY, deadlines_ms=deadlines)

    def stop(record):
        if record["step"] == 17:
            raise RuntimeError("stopped")

    folder = Checkpoints(tmp_path, every=4)
    with pytest.raises(RuntimeError, match="stopped"):
        lk.sweep(supernet, data, table, weights, TINY, deadlines_ms=deadlines, checkpoints=folder, on_step=stop)
    assert folder.newest().step == 16
    again = lk.sweep(supernet, data, table, weights, TINY, deadlines_ms=deadlines, checkpoints=folder)
    assert all(map(same, again, whole)) and len(whole) == 3
    with pytest.raises(lk.InputError, match="aims"):
        lk.sweep(supernet, data, table, (0.0, 2.0), TINY, deadlines_ms=deadlines, checkpoints=folder)


KILLED = """
import os, random, signal, sys, time
import torch
import labkit as lk
from labkit import Checkpoints, SearchConfig
from labkit.system.checkpoints import Checkpoint
from labkit.system.checkpoints import Checkpoint
from labkit.system import storage

torch.set_num_threads(1)  # and so nothing here is lost in a fork
name, table, out = sys.argv[1:]
data = lk.data.glyphs(64, 32, 10, seed=0)
space = lk.spaces.by_name(name)
table = lk.LatencyTable.load(table)
config = SearchConfig(
    mixture_steps=6, weight_steps=6, joint_steps=14, batch_size=4, evaluation_images=20, calibration_images=16,
    latency_weight=0.5, estimator="unas-fitted",
)

def run(folder, on_step=None):
    supernet = lk.Supernet(space, seed=0)
    saving = Checkpoints(f"{out}/{folder}", every=2)
    found = lk.search(supernet, data, table, config, checkpoints=saving, on_step=on_step)
    storage.write_tensors(f"{out}/{folder}.safetensors", {"logits": found.logits, **found.supernet.state_dict()})
    storage.write_json(f"{out}/{folder}.json", {"history": list(found.history), "point": found.point.to_json()})

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # what it imports takes seconds: once here, not in each child
draw = random.Random(7)
for kill in range(11):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run("killed", lambda record: os.write(writing, b"."))
        os._exit(0)
    os.close(writing)
    if kill < 10:
        for _ in range(draw.randint(1, 3)):
            assert os.read(reading, 1) == b".", "the search ended too soon to be killed"
        time.sleep(draw.uniform(0, 0.02))  # in the middle of a step, or of saving one
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status == (signal.SIGKILL if kill < 10 else 0), status
    os.close(reading)
run("whole")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("name", ["five_layer", "mobile-tiny"])
def test_killed_ten_times_a_search_ends_as_if_never_killed(make_table, name, tmp_path):
    make_table(lk.spaces.by_name(name)).save(tmp_path / "table.json")
    script = [sys.executable, "-W", "ignore", "-c", KILLED, name, str(tmp_path / "table.json"), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for suffix in ("json", "safetensors"):
        assert (tmp_path / f"killed.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


def test_an_interrupt_waits_for_the_step_and_says_how_to_go_on(space, data, table, tmp_path):
    supernet, folder = lk.Supernet(space), Checkpoints(tmp_path, every=1_000)
    before = signal.getsignal(signal.SIGINT)
    stop = lambda record: signal.raise_signal(signal.SIGINT) if record["step"] == 12 else None
    with pytest.raises(KeyboardInterrupt, match=rf"stopped after step 13 of 20; the same call resumes from {tmp_path}"):
        lk.search(supernet, data, table, TINY, checkpoints=folder, on_step=stop)
    assert folder.steps == (13,) and signal.getsignal(signal.SIGINT) is before
    assert same(lk.search(supernet, data, table, TINY, checkpoints=folder), lk.search(supernet, data, table, TINY))


def test_an_interrupt_without_checkpoints_says_that_nothing_is_kept(space, data, table):
    stop = lambda record: signal.raise_signal(signal.SIGINT) if record["step"] == 12 else None
    with pytest.raises(KeyboardInterrupt, match="after step 13 of 20; nothing is kept: with checkpoints= the same"):
        lk.search(lk.Supernet(space), data, table, TINY, on_step=stop)


def test_the_checkpoints_of_another_search_are_refused(space, data, table, make_table, tmp_path):
    supernet, folder = lk.Supernet(space), Checkpoints(tmp_path, every=5)
    SearchRun(supernet, data, TINY, table).advance(10, folder)
    for arguments, says in (
        ((supernet, data, table, replace(TINY, latency_weight=0.2)), "latency_weight 0[.0-9]+, now 0.2"),
        ((lk.Supernet(space, seed=1), data, table, TINY), "first weights"),
        ((supernet, data, make_table(space, seed=1), TINY), "latency table"),
        ((supernet, lk.data.glyphs(1_500, 500, 500, seed=1), table, TINY), "images"),
    ):
        with pytest.raises(lk.InputError, match=rf"step 10 is of another search \({says}"):
            lk.search(*arguments, checkpoints=folder)


def test_a_search_branches_from_a_step_with_another_weight(space, data, table, tmp_path):
    """Nothing before the step is done anew, and what follows is what the other search would have done from there."""
    supernet, folder = lk.Supernet(space), Checkpoints(tmp_path, every=4, keep=None)
    config = replace(TINY, joint_steps=60, logit_lr=0.3)
    first = lk.search(supernet, data, table, config, checkpoints=folder)
    dear = replace(config, latency_weight=100.0)
    branched = lk.search(supernet, data, table, dear, start=folder.at(12))
    assert branched.history[:12] == first.history[:12] and branched.history[13] != first.history[13]
    assert branched.architecture == min(space, key=table.table_ms)
    at_the_fork = lk.search(supernet, data, table, dear, start=folder.at(8))
    assert same(at_the_fork, lk.search(supernet, data, table, dear)), "no joint step had been done by then"
    with pytest.raises(lk.InputError, match="batch_size 16, now 32"):
        lk.search(supernet, data, table, replace(dear, batch_size=32), start=folder.at(12))


OTHERWISE = {  # what a search may have of its own, and another value of it
    "estimator": "reinforce", "latency_weight": 0.3, "target_ms": 0.3, "latency_warmup": 3, "deadline_ms": 1.0,
    "finalists": 2, "gap_weight": 0.0, "gap": "paired", "task_cost": "error", "nats_per_error": 3.0,
    "control_scale": 0.5, "softening": 0.08, "architectures": 4, "weights_on": "fair", "weight_average": 0.3,
    "logit_lr": 0.2, "logit_lr_end": 0.5, "evaluation_images": 50, "calibration_images": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def forks(space, data, table, tmp_path_factory):
    """Checkpoints after a joint step, of the search without an average of the weights and with one that has begun."""
    made = {}
    for share in (0.0, 0.9):
        folder = Checkpoints(tmp_path_factory.mktemp("fork"), every=14)
        SearchRun(lk.Supernet(space), data, replace(TINY, weight_average=share), table).advance(14, folder)
        made[share] = folder.newest()
    return made


@pytest.mark.parametrize("key", MAY_CHANGE)
def test_a_search_branches_with_another_of_each_that_may_change(space, data, table, make_table, forks, key):
    beside = key in ("latency table", "measured latency")  # the config
    config = TINY if beside else replace(TINY, **{key: OTHERWISE[key]})
    other = make_table(space, seed=1) if key == "latency table" else table
    measured_ms = table if key == "measured latency" else None
    found = lk.search(lk.Supernet(space), data, other, config, measured_ms=measured_ms, start=forks[0.0])
    assert len(found.history) == TINY.steps


def test_a_mean_over_another_share_of_the_steps_begins_at_the_fork(space, data, table, forks):
    for share in (0.0, 0.9):
        run = SearchRun(lk.Supernet(space), data, replace(TINY, weight_average=0.3), table)
        run.restore(forks[share], changed=MAY_CHANGE).advance()
        assert run.averaged.n_averaged.item() == 6, "the last six steps, as the config asks"


def test_the_log_of_a_fast_search_is_small_and_says_what_was_drawn(space, data, table, tmp_path):
    result = lk.search(lk.Supernet(space), data, table, SearchConfig.fast(batch_size=16, latency_weight=0.1))
    folder = lk.runs.save(result, tmp_path / "run", data, table)
    assert (folder / "history.parquet").stat().st_size <= 200_000
    back = lk.runs.load(folder).result.history
    assert back == result.history
    for row in back:
        probs = torch.tensor(row["logits"]).reshape(5, 3).softmax(-1).flatten()
        assert row["probs"] == pytest.approx(probs.tolist()) and row["expected_ms"] > 0
        assert (row["sampled"] is None) == (row["drawn_ms"] is None) == (row["phase"] == "mixture")
        if row["sampled"] is not None:
            assert len(row["sampled"]) == 5 and set(row["sampled"]) <= {0, 1, 2}
            drawn = space.architecture(slot[k] for slot, k in zip(space.slots, row["sampled"]))
            assert row["drawn_ms"] == table.table_ms(drawn)
        losses = [row[f"{of}_{part}loss"] for of in ("relaxed", "drawn") for part in ("", "valid_")]
        if row["phase"] == "joint":
            assert losses[0] == row["loss"] and len(set(losses)) == 4 and min(losses) > 0
        else:
            assert losses == [None] * 4


def test_the_log_of_a_fast_search_of_a_larger_space_is_small_too(data, make_table, tmp_path):
    """Of `mobile-tiny`, were no number of a joint step like another; before those the distribution stands still."""
    space, fast = lk.spaces.mobile(), SearchConfig.fast()
    run = SearchRun(lk.Supernet(space), data, replace(TINY, mixture_steps=0, weight_steps=0), make_table(space))
    row, draw = run.advance(1).history[0], torch.Generator().manual_seed(0)

    def unlike(value):
        if isinstance(value, list):
            return [unlike(x) for x in value]
        return value + torch.rand((), generator=draw).item() if isinstance(value, float) else value

    still = [row] * (fast.mixture_steps + fast.weight_steps)
    log = still + [{name: unlike(value) for name, value in row.items()} for _ in range(fast.joint_steps)]
    assert lk.system.storage.write_rows(tmp_path / "history.parquet", log).stat().st_size <= 200_000
