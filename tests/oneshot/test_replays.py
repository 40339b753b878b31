"""What a replay says of a step, against its record."""

import json

import pytest

import labkit as lk
from labkit.oneshot.replays import replay_of


def record(space, step, **changes):
    probs = [[0.2, 0.5, 0.3]] * len(space.slots)
    row = {
        "step": step, "phase": "joint", "loss": 1.234, "expected_ms": 0.5, "drawn_ms": 0.25,
        "sampled": [0, 1, 2, 0, 1], "probs": [p for slot in probs for p in slot],
    }  # fmt: skip
    return row | changes


def test_each_step_is_told_as_it_was_recorded(space):
    quiet = {"phase": "mixture", "expected_ms": None, "drawn_ms": None, "sampled": None}
    replay = replay_of([record(space, 0, **quiet), record(space, 1)], space)
    assert replay.probs.shape == (2, 5, 3) and replay.probs[1, 4].tolist() == [0.2, 0.5, 0.3]
    assert replay.favourite(1) == tuple(slot[1] for slot in space.slots)
    assert replay.drawn(0) is None and replay.drawn(1) == tuple(s[k] for s, k in zip(space.slots, (0, 1, 2, 0, 1)))
    assert replay.words(0) == "Step 1 of 2, mixture: loss 1.23 nats."
    assert replay.words(1) == "Step 2 of 2, joint: loss 1.23 nats, 0.500 ms expected, 0.250 ms drawn."


def test_the_browser_gets_json_of_every_step(space):
    data = replay_of([record(space, 0), record(space, 1)], space).for_browser()
    assert json.loads(json.dumps(data)) == data
    assert [step["sampled"] for step in data["steps"]] == [[0, 1, 2, 0, 1]] * 2
    assert data["steps"][0]["probs"] == [[0.2, 0.5, 0.3]] * 5 and data["slots"] == [list(s) for s in space.slots]


def test_a_log_of_nothing_or_of_another_space_is_refused(space):
    with pytest.raises(lk.InputError, match="at least one step"):
        replay_of([], space)
    with pytest.raises(lk.InputError, match="not of this space, which has 15 probabilities"):
        replay_of([record(space, 0, probs=[0.5] * 14)], space)
