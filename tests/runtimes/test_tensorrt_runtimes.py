"""TensorRT's two packages as runtimes, here where they cannot run."""

import pytest
import torch

import labkit as lk
from labkit.runtimes import tensorrt_engines, tensorrt_runtimes
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare, runtime
from labkit.runtimes.tensorrt_engines import FLAVOURS
from labkit.runtimes.tensorrt_runtimes import TensorRT


def test_tensorrt_says_what_is_missing_and_how_to_get_it():
    entry = runtime("tensorrt")
    assert not entry.available
    if not torch.cuda.is_available():
        assert "NVIDIA GPU" in entry.reason
    if entry.version is None:
        assert "pip install labkit[tensorrt]" in entry.reason
    with pytest.raises(lk.InputError, match="the runtime tensorrt cannot be used here: tensorrt needs"):
        prepare(torch.nn.Identity(), "tensorrt", torch.zeros(1))


def test_each_flavour_is_a_runtime_with_and_without_a_graph():
    built = {name: runtime(name) for flavour in FLAVOURS for name in (flavour, f"{flavour}-cuda-graph")}
    assert all(isinstance(entry, TensorRT) and entry.devices == ("cuda",) and entry.deploys for entry in built.values())
    assert {name: entry.repeats for name, entry in built.items()} == {name: "graph" in name for name in built}
    assert {name: entry.preference for name, entry in built.items()} == {
        "tensorrt": 0, "tensorrt-cuda-graph": None, "tensorrt-rtx": 1, "tensorrt-rtx-cuda-graph": None,
    }  # fmt: skip


@pytest.fixture
def built(monkeypatch):
    """What engines are asked for, and doubled logits in place of an engine."""
    asked = []

    def note(result):
        return lambda *arguments, **more: asked.append((arguments, more)) or result

    monkeypatch.setattr(TensorRT, "model", lambda self, network, example, how: b"model")
    monkeypatch.setattr(tensorrt_engines, "build", note("engine"))
    monkeypatch.setattr(tensorrt_engines, "ready", note(doubled))
    monkeypatch.setattr(tensorrt_engines, "EngineRun", lambda engine, device: doubled)
    return asked


def doubled(images):
    return 2 * images


def test_an_engine_is_tuned_to_the_batch_and_takes_at_least_64(built):
    for batch, most in ((1, 64), (8, 64), (100, 100)):
        run = TensorRT("tensorrt").prepare(torch.nn.Identity(), torch.zeros(batch, 3, 4, 4), Preparation())
        (model, settings), more = built[-1]
        assert model == b"model" and more == {"flavour": "tensorrt"}
        assert settings.profile == tensorrt_engines.Profile(1, batch, most)
        assert torch.equal(run(torch.ones(2)), 2 * torch.ones(2))


def test_engines_are_kept_in_the_folder_that_was_named(built, tmp_path):
    how = Preparation(engines=tmp_path)
    TensorRT("tensorrt-rtx").prepare(torch.nn.Identity(), torch.zeros(2, 3, 4, 4), how)
    (_, _, folder, device), more = built[-1]
    assert folder == tmp_path and device == torch.device("cpu") and more == {"flavour": "tensorrt-rtx"}


def test_a_graph_launches_the_engine_as_often_as_asked(built, monkeypatch):
    seen = []
    monkeypatch.setattr(tensorrt_runtimes, "graph_run", lambda run, place, repeats: seen.append((run, repeats)) or run)
    how = Preparation(repeats=32)
    TensorRT("tensorrt", graph=True).prepare(torch.nn.Identity(), torch.zeros(2, 3, 4, 4), how)
    TensorRT("tensorrt").prepare(torch.nn.Identity(), torch.zeros(2, 3, 4, 4), how)
    assert seen == [(doubled, 32)], "without a graph an engine is called once"
