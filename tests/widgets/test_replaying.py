"""A search replayed, in words and in the widget."""

import json

import pytest
import torch

import labkit as lk
import labkit.widgets as widgets
from labkit.oneshot import replays
from labkit.system.errors import InputError


def a_log(space, steps: int = 6) -> list[dict]:
    """Layer 1 goes from even to its last candidate; the steps from the third on draw an architecture."""
    log = []
    for t in range(steps):
        probs = torch.full(space.mask.shape, 1 / 3)
        probs[0] = torch.tensor([1.0, 1.0, 1.0 + t]) / (3 + t)
        phase = "joint" if t >= 2 else "mixture"
        ms = 0.1 if phase == "joint" else None
        sampled = [2, 0, 1, 0, 1] if phase == "joint" else None
        row = {"phase": phase, "loss": 2.0 - t / 10, "expected_ms": ms, "sampled": sampled}
        log.append({**row, "probs": probs.flatten().tolist()})
    return log


def test_a_replay_says_what_each_step_knew_and_drew(space):
    made = replays.replay_of(a_log(space), space)
    assert made.words(0) == "Step 1 of 6, mixture: loss 2.00 nats."
    assert made.words(5) == "Step 6 of 6, joint: loss 1.50 nats, 0.100 ms expected."
    told = replays.replay_of([{**row, "drawn_ms": 0.2} for row in a_log(space)], space).words(5)
    assert told == "Step 6 of 6, joint: loss 1.50 nats, 0.100 ms expected, 0.200 ms drawn."
    assert made.favourite(5)[0] == space.slots[0][2] and made.favourite(0)[0] == space.slots[0][0]
    assert made.drawn(1) is None
    assert made.drawn(2) == tuple(slot[k] for slot, k in zip(space.slots, (2, 0, 1, 0, 1)))
    browser = json.loads(json.dumps(made.for_browser()))
    assert browser["names"] == [f"layer {s}" for s in range(1, 6)]
    assert browser["steps"][5]["probs"][0] == [0.125, 0.125, 0.75] and browser["steps"][5]["words"] == made.words(5)
    with pytest.raises(InputError, match="at least one step"):
        replays.replay_of([], space)
    with pytest.raises(InputError, match="15 probabilities a step"):
        replays.replay_of([{"probs": [1.0]}], space)


def test_the_replayer_draws_every_step_of_any_space(space):
    wide = lk.spaces.mobile("tiny")
    row = {"phase": "joint", "loss": 1.0, "expected_ms": 0.1, "probs": wide.mask.double().flatten().tolist()}
    for widget in (
        widgets.Replayer(replays.replay_of(a_log(space), space)),
        widgets.Replayer(replays.replay_of([row, row], wide)),  # a log of before the draws were kept
    ):
        last = widget.step
        widget.check_all()
        assert widget.step == last and len(widget.architecture) == len(widget.replay.slots)
        assert widget.replay.words(last) in widget._repr_mimebundle_()[0]["text/html"]
        with pytest.raises(Exception, match=rf"the steps are 0 to {last}; got {last + 1}"):
            widget.step = last + 1
