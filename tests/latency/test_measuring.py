"""Whole networks timed end to end, and the cards of their measurements."""

import time
from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import measure
from labkit.latency.stopwatch import time_interleaved
from labkit.runtimes.base import DTYPES, Preparation
from labkit.runtimes.registry import prepare, runtimes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_with_its_card(network):
    on_gpu = lk.TimingConditions(device="cuda", seconds=0.05)
    eager, graph, host = (
        lk.measure([network], replace(on_gpu, runtime=name, transfers=transfers))[0]
        for name, transfers in (("torch", False), ("torch-cuda-graph", False), ("torch", True))
    )
    assert eager.card.statistic == "median" and eager.card.capability and "SM" in eager.card.observed
    assert 0 < graph.measured_ms < eager.measured_ms < 100 and host.card.transfers
    with pytest.raises(lk.InputError, match="transfers"):
        host.speedup_over(eager)


def test_a_function_is_timed_as_it_is_under_the_name_it_is_given():
    seen = []

    def run(images):
        seen.append(images)
        time.sleep(0.002)

    conditions = TimingConditions(runtime="my accelerator", batch_size=3, dtype="float16", seconds=0.03)
    (found,) = measure([run], conditions, image=(1, 4, 4))
    assert 2.0 <= found.measured_ms < 4 and found.card.runtime == "my accelerator" and found.card.dtype == "float16"
    assert seen[0].shape == (3, 1, 4, 4) and seen[0].dtype == torch.float16
    assert len({id(images) for images in seen}) > 1 and found.card.batch_size == 3
    with pytest.raises(lk.InputError, match="runtimes are torch"):
        measure([torch.nn.Identity()], TimingConditions(runtime="my accelerator"))
    with pytest.raises(lk.InputError, match="dtypes are float32, float16, bfloat16; got 'half'"):
        measure([run], TimingConditions(dtype="half"))


HERE = [  # what `usable` accepts; the compilers take half a minute each
    pytest.param(entry.name, dtype, id=f"{entry.name}-{dtype}")
    for entry in runtimes()
    if entry.available and "cpu" in entry.devices and not entry.needs_trial
    for dtype in entry.dtypes
    if dtype in DTYPES  # eight bits need real images
]


@pytest.mark.parametrize(("runtime", "dtype"), HERE)
def test_whatever_is_usable_is_measured_and_reads_images_of_any_dtype(space, runtime, dtype):
    network = lk.derive(space, space.architecture(["maxpool3x3"] * 5))
    (found,) = measure([network], TimingConditions(runtime=runtime, dtype=dtype, seconds=0.01, rounds=2))
    assert found.measured_ms > 0 and found.card.dtype == dtype
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for example in (images.to(dtype) for dtype in DTYPES.values()):
        run = prepare(network, runtime, example, Preparation(dtype, "torchscript"))
        every = [run(images.to(dtype)) for dtype in DTYPES.values()]
        assert all(logits.dtype == torch.float32 for logits in every)
        torch.testing.assert_close(every[1], every[0], rtol=0.05, atol=0.05)


def test_nothing_and_one_round_are_not_timed():
    with pytest.raises(lk.InputError, match="at least one call, in at least two rounds; got 0 in 15"):
        measure([])
    with pytest.raises(lk.InputError, match="at least one call, in at least two rounds; got 1 in 1"):
        time_interleaved([lambda: None], rounds=1)
