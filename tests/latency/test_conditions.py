"""Timing conditions: their ranges, the threads that they set, and how a card repeats them."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

import labkit as lk
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of, measure, random_batches
from labkit.runtimes.base import Runtime
from labkit.runtimes.registry import RUNTIMES


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "a batch has at least one image; got 0"),
        ({"threads": 0}, "a network runs on at least one thread; got 0"),
        ({"seconds": 0}, "a positive number of seconds; got 0"),
        ({"seconds": float("nan")}, "a positive number of seconds; got nan"),
        ({"seconds": float("inf")}, "a positive number of seconds; got inf"),
        ({"rounds": 1}, "timing takes at least 2 rounds; got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(lk.InputError, match=message):
        TimingConditions(**wrong)


def test_conditions_are_one_value():
    one = TimingConditions(batch_size=8)
    assert one == TimingConditions(batch_size=8) != TimingConditions() and hash(one) == hash(replace(one))
    with pytest.raises(FrozenInstanceError):
        one.batch_size = 9
    with pytest.raises(TypeError):
        TimingConditions("torch")  # fields have names only


def test_a_device_is_a_gpu_by_its_kind():
    assert [TimingConditions(device=device).on_gpu for device in ("cpu", "cuda", "cuda:1", torch.device("cuda"))] == [
        False,
        True,
        True,
        True,
    ]


def test_threads_are_set_inside_the_block_only():
    before = torch.get_num_threads()
    with TimingConditions(threads=before + 1).threads_set():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with TimingConditions().threads_set():
        assert torch.get_num_threads() == before


def test_networks_run_on_the_threads_of_the_conditions_and_the_card_says_so():
    wanted, seen = torch.get_num_threads() + 1, set()
    run = lambda images: seen.add(torch.get_num_threads())
    (found,) = measure([run], TimingConditions(threads=wanted, seconds=0.002, rounds=2))
    assert seen == {wanted} and found.card.threads == wanted
    assert card_of(TimingConditions(), (3, 8, 8)).threads == torch.get_num_threads() == wanted - 1


def test_a_runtime_may_be_an_object_or_any_name_of_a_function():
    class Mine(Runtime):
        name = "mine-for-conditions"

    try:
        assert TimingConditions(runtime=Mine()).runtime_name == "mine-for-conditions" in RUNTIMES
    finally:
        RUNTIMES.remove("mine-for-conditions")
    assert TimingConditions(runtime="no such runtime").runtime_name == "no such runtime"


def test_a_card_repeats_its_conditions():
    conditions = TimingConditions(runtime="onnxruntime", dtype="float16", batch_size=4, threads=3)
    card = card_of(conditions, (3, 32, 32))
    assert card.conditions(seconds=1.5, rounds=4) == replace(conditions, seconds=1.5, rounds=4)
    assert card_of(card.conditions(), (3, 32, 32)).differences(card) == ()
    assert card_of(card.conditions(batch_size=5), (3, 32, 32)).differences(card) == ("batch_size",), "negative control"


def test_transfers_count_on_a_gpu_only():
    assert card_of(TimingConditions(transfers=True), (3, 8, 8)).transfers is False


def test_batches_are_the_same_every_time_and_of_the_size_and_dtype_asked_for():
    half = TimingConditions(batch_size=5, dtype="float16")
    batches = random_batches(half, (1, 4, 6))
    assert batches.shape == (4, 5, 1, 4, 6) and batches.dtype == torch.float16
    assert torch.equal(batches, random_batches(half, (1, 4, 6))) and not torch.equal(batches[0], batches[1])
    read_in_float32 = random_batches(replace(half, runtime="onnxruntime"), (1, 4, 6))
    assert read_in_float32.dtype == torch.float32 and torch.equal(read_in_float32.half(), batches)
