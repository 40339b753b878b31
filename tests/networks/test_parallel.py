"""Many networks at once: what comes out depends on the job alone, and no test image is needed."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

import labkit as lk
from labkit.networks import parallel
from labkit.networks.parallel import Job, train_all, train_row
from labkit.networks.training import TrainConfig
from labkit.spaces import Edge, SearchSpace

EDGES = (Edge(3, 4, 4, fixed="conv3x3"), Edge(4, 4, slot=0), Edge(4, 4, slot=1))
SMALL = SearchSpace("small", (("conv3x3", "maxpool3x3"),) * 2, EDGES, (3, 32, 32), 10, "flat")
CONFIG = TrainConfig(epochs=1, batch_size=64)


@pytest.fixture(scope="module")
def images():
    return lk.data.by_name("digits")


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_row_depends_on_its_job_alone(images):
    jobs = [Job(list(SMALL)[i], seed) for i, seed in ((1, 0), (2, 0), (1, 1))]
    with parallel.one_thread():
        alone = timeless(train_row(job, SMALL, images, CONFIG) for job in jobs)
    assert alone[0]["ops"] != alone[1]["ops"] and alone[0]["valid_accuracy"] != alone[2]["valid_accuracy"]
    key = lambda row: (row["ops"], row["seed"])
    for workers in (1, 2):
        rows = train_all(jobs, SMALL, images, CONFIG, workers, test=True)
        assert sorted(timeless(rows), key=key) == sorted(alone, key=key)


@pytest.mark.parametrize("workers", [1, 2])
def test_without_being_asked_no_network_sees_the_test_images(images, workers):
    rows = list(train_all([Job(a, 0) for a in list(SMALL)[:2]], SMALL, images, CONFIG, workers))
    assert len(rows) == 2 and all("test_accuracy" not in row and 0 < row["valid_accuracy"] < 1 for row in rows)


def test_test_images_are_not_even_sent(images, monkeypatch):
    def bytes_sent(function, jobs, workers, *, start, started_with):
        _, received, _ = pickle.loads(pickle.dumps(started_with))  # a slice would come with what it was cut from
        yield [part.pixels.untyped_storage().nbytes() for part in (received.train, received.test)]

    monkeypatch.setattr(parallel, "as_finished", bytes_sent)
    jobs = [Job(a, 0) for a in list(SMALL)[:2]]
    ((train, test),) = train_all(jobs, SMALL, images, CONFIG, 2)
    assert train > 0 == test
    ((_, test),) = train_all(jobs, SMALL, images, CONFIG, 2, test=True)
    assert test > 0


def test_without_test_images_there_is_no_test_accuracy(images):
    blind = replace(images, test=images.test[:0])
    (row,) = train_all([Job(next(iter(SMALL)), 0)], SMALL, blind, CONFIG, 1, test=True)
    assert "test_accuracy" not in row and 0 < row["valid_accuracy"] < 1
    assert list(train_all([], SMALL, images, CONFIG)) == []


def test_a_caller_that_has_seen_enough_ends_it(images):
    rows = train_all([Job(a, seed) for a in SMALL for seed in range(20)], SMALL, images, CONFIG, 2)
    next(rows)
    workers = lambda: [p for p in psutil.Process().children(recursive=True) if "popen_loky" in " ".join(p.cmdline())]
    assert len(workers()) == 2
    rows.close()  # 80 trainings would take minutes
    assert not workers()


def _die(job):
    os._exit(3)


def test_a_process_that_dies_is_told_and_nothing_hangs(images, monkeypatch):
    monkeypatch.setattr(parallel, "_train_one", _die)
    with pytest.raises(lk.InputError, match="a worker process died"):
        list(train_all([Job(a, 0) for a in list(SMALL)[:2]], SMALL, images, CONFIG, 2))


def test_a_plain_script_needs_no_guard(tmp_path):
    """Processes that ran the caller's script again would start processes of their own."""
    script = tmp_path / "plain.py"
    script.write_text(
        "print('began')\n"
        "import labkit as lk\n"
        "from labkit.networks.parallel import Job, train_all\n"
        "space, images = lk.spaces.five_layer(), lk.data.by_name('digits')\n"
        "jobs = [Job(a, 0) for a in list(space)[-2:]]\n"
        "print(len(list(train_all(jobs, space, images, lk.TrainConfig(epochs=1, batch_size=64), 2))), 'trained')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.stdout.split("\n")[:2] == ["began", "2 trained"], done.stderr
    assert "leaked" not in done.stderr
