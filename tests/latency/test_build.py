"""Building a table for a device: its stages, a stop and what is done again, drift. The milliseconds may be anything."""

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit.latency import build as latency_build
from labkit.latency.build import _joined, build, load_networks
from labkit.latency.table import shipped_tables
from labkit.system import storage
from labkit.system.errors import InputError

CONDITIONS = replace(latency_build.CONDITIONS, seconds=0.004, rounds=2)
SHORT = {"conditions": CONDITIONS, "fit": 10, "held_out": 4}


def test_a_build_leaves_a_table_and_a_report_on_whole_networks(tmp_path, space):
    built = build(tmp_path / "t.json", space, command="made so", **SHORT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.additivity.json", "t.json"]
    assert lk.LatencyTable.load(tmp_path / "t.json").matrix.equal(built.table.matrix)
    value = json.loads((tmp_path / "t.additivity.json").read_text())
    assert value["command"] == "made so" and (value["fitted"], value["held_out"]) == (10, 4)
    timed = load_networks(tmp_path / "t.additivity.json", space)
    assert len({t.architecture for t in timed}) == 14 and all(t.measured_ms > 0 < t.again_ms for t in timed)
    with pytest.raises(InputError, match="another mobile"):
        load_networks(tmp_path / "t.additivity.json", lk.spaces.mobile("tiny"))


def test_a_build_that_was_stopped_times_nothing_twice(tmp_path, space, monkeypatch):
    real, calls = latency_build.measure, []

    def stopping(networks, *args, **kwargs):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(len(networks))
        return real(networks, *args, **kwargs)

    monkeypatch.setattr(latency_build, "CHUNK", 12)  # so that 14 networks are two
    monkeypatch.setattr(latency_build, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "t.json", space, **SHORT)
    before = (tmp_path / "t.measuring.json").read_bytes()
    rows = storage.read_lines(tmp_path / "t.networks.jsonl")
    assert [(row["again"], row["chunk"]) for row in rows] == [(0, 0), (0, 1), (1, 0)]

    monkeypatch.setattr(latency_build, "measure", lambda *a, **k: calls.append(0) or real(*a, **k))
    build(tmp_path / "t.json", space, **SHORT)
    assert calls[3:] == [0], "one chunk of one pass was missing"
    assert (tmp_path / "t.json").read_bytes() == before, "the parts were not measured again"
    assert not (tmp_path / "t.networks.jsonl").exists()


def test_a_row_that_a_kill_cut_short_spoils_none_after_it(tmp_path):
    waiting = tmp_path / "t.networks.jsonl"
    storage.append_line(waiting, {"chunk": 0})
    with open(waiting, "a") as file:
        file.write('{"chunk": 1, "o')
    assert storage.resume_lines(waiting) == [{"chunk": 0}]
    storage.append_line(waiting, {"chunk": 1})
    assert storage.resume_lines(waiting) == storage.read_lines(waiting) == [{"chunk": 0}, {"chunk": 1}]
    assert storage.resume_lines(tmp_path / "new.jsonl") == [] and (tmp_path / "new.jsonl").exists()


def test_a_build_goes_on_under_its_own_conditions_only(tmp_path, space):
    build(tmp_path / "t.json", space, **SHORT)
    (tmp_path / "t.json").rename(tmp_path / "t.measuring.json")  # as if it had been stopped at its last step
    with pytest.raises(InputError, match=r"other conditions \(batch_size differ\)"):
        build(tmp_path / "t.json", space, replace(CONDITIONS, batch_size=2), fit=10, held_out=4)
    storage.append_line(
        tmp_path / "t.networks.jsonl", {"again": 0, "chunk": 0, "ops": [], "anchors_ms": [1, 1], "ms": []}
    )
    with pytest.raises(InputError, match="is of another build"):
        build(tmp_path / "t.json", space, **SHORT)


def test_a_build_does_not_resume_from_the_parts_of_another_space(tmp_path, space, monkeypatch):
    build(tmp_path / "t.json", space, **SHORT)
    monkeypatch.setattr(latency_build, "_whole", lambda *_: pytest.fail("networks were timed first"))
    (tmp_path / "t.json").rename(tmp_path / "t.measuring.json")
    with pytest.raises(InputError, match="the latency table is of five_layer"):
        build(tmp_path / "t.json", replace(space, classes=7), **SHORT)


def test_a_noisy_build_leaves_an_older_table_alone(tmp_path, space, monkeypatch):
    monkeypatch.setattr(latency_build.additivity.Report, "verdict", "noisy")
    first = build(tmp_path / "t.json", space, **SHORT)
    assert first.path == tmp_path / "t.json", "better than none"
    before = first.path.read_bytes()
    second = build(tmp_path / "t.json", space, **SHORT)
    assert second.path.name == "t.noisy.json" and second.path.exists() and first.path.read_bytes() == before
    assert load_networks(second.path.with_suffix(".additivity.json"), space)


def test_only_finished_tables_are_offered_as_shipped(tmp_path, monkeypatch):
    device = tmp_path / "latency" / "device"
    device.mkdir(parents=True)
    for name in ("t.json", "t.additivity.json", "t.measuring.json", "t.noisy.json", "t.noisy.additivity.json"):
        (device / name).touch()
    monkeypatch.setattr(storage, "DATA", tmp_path)
    assert list(shipped_tables()) == ["device/t"]


def test_what_both_anchors_drift_by_is_divided_out_beyond_their_own_noise(space):
    chosen = [space[i] for i in range(4)]
    row = lambda again, chunk, anchors, ms: {"again": again, "chunk": chunk, "anchors_ms": anchors, "ms": ms}
    rows = [row(0, 0, [1.0, 1.0], [1, 2]), row(0, 1, [1.9, 1.01], [3, 4])]  # one anchor was slowed down by itself
    rows += [row(1, 0, [1.02, 1.02], [1, 2]), row(1, 1, [1.5, 1.6], [4.5, 6])]
    timed, drift = _joined(chosen, rows)
    usual = 1.02  # median of the anchors
    assert [t.measured_ms for t in timed] == pytest.approx([1, 2, 3, 4])
    assert [t.again_ms for t in timed] == pytest.approx([1, 2, 4.5 * usual / 1.5, 6 * usual / 1.5])
    assert drift == pytest.approx(1.5 / usual - 1)
