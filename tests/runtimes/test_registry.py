"""Every runtime comes in by one door, which guards names; an object works where a name does."""

import subprocess
import sys

import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.deploy import compiling, export
from labkit.deploy.precisions import TOLERANCE
from labkit.runtimes import registry
from labkit.runtimes.base import Preparation, Runtime
from labkit.runtimes.registry import RUNTIMES, loaded, preferred, prepare, register_runtime, runtime, runtimes, usable


class Twice(Runtime):
    """Twice the logits: a result that no built-in runtime gives."""

    name = "twice"

    def prepare(self, network, example, how):
        return lambda images: 2 * network(images).detach()


@pytest.fixture(autouse=True)
def restored():
    """Whatever a test registers is forgotten after it."""
    known = set(RUNTIMES)
    yield
    for name in set(RUNTIMES) - known:
        RUNTIMES.remove(name)


def test_a_class_and_an_instance_are_registered_alike():
    assert register_runtime(Twice) is Twice
    assert isinstance(runtime("twice"), Twice)
    RUNTIMES.remove("twice")
    made = Twice()
    assert register_runtime(made) is made and runtime("twice") is made and runtimes()[-1] is made


def test_a_name_is_taken_once_unless_it_is_replaced():
    first, second = Twice(), Twice()
    register_runtime(first)
    with pytest.raises(lk.InputError, match=r"'twice' is registered already.*replace=True to labkit.register_runtime"):
        register_runtime(second)
    assert runtime("twice") is first
    register_runtime(second, replace=True)
    assert runtime("twice") is second


def test_an_instance_never_takes_the_place_of_another_in_silence():
    runtime(Twice())
    with pytest.raises(lk.InputError, match="registered already"):
        runtime(Twice())


@pytest.mark.parametrize("wrong", [object(), "twice", dict, lambda network: network])
def test_what_is_no_runtime_is_refused(wrong):
    with pytest.raises(lk.InputError, match=r"a runtime is a subclass of labkit.runtimes.Runtime; got"):
        register_runtime(wrong)


def test_an_object_works_where_a_name_does():
    network, images = torch.nn.Flatten(), torch.arange(12.0).reshape(1, 3, 2, 2)
    assert torch.equal(prepare(network, Twice(), images)(images), 2 * images.flatten(1))
    assert torch.equal(prepare(network, "torch", images)(images), images.flatten(1))


def test_unknown_names_are_refused_with_those_that_are_known():
    with pytest.raises(lk.InputError, match="onnxruntime"):
        runtime("onnxruntim")


def test_what_a_runtime_lacks_is_said(monkeypatch):
    monkeypatch.setattr(Twice, "reason", "twice needs a second machine")
    with pytest.raises(lk.InputError, match="twice cannot be used here: twice needs a second machine"):
        usable(Twice())


def test_a_dtype_and_a_device_that_it_does_not_take_are_refused():
    made = Twice()
    assert usable(made) is made and loaded(made) is made
    with pytest.raises(lk.InputError, match="twice takes float32; got 'int8'"):
        usable(made, "int8")
    with pytest.raises(lk.InputError, match=r"twice runs on cpu; got 'cuda', for which: .*torch-cuda-graph"):
        usable(made, device="cuda")


def test_auto_follows_the_preference_of_each_runtime(monkeypatch):
    before = [entry.name for entry in preferred("cpu")]
    assert before == ["onnxruntime", "openvino", "torch-channels-last"]
    register_runtime(Twice)
    assert [entry.name for entry in preferred("cpu")] == before, "no preference, never tried"
    monkeypatch.setattr(Twice, "preference", -1)
    assert [entry.name for entry in preferred("cpu")] == ["twice", *before]


def test_runtimes_of_a_gpu_come_before_those_that_also_run_there():
    names = [entry.name for entry in preferred("cuda")]
    assert names[-1] == "torch-channels-last" and "onnxruntime" not in names and len(names) > 1


def test_the_baseline_is_the_first():
    assert registry.runtimes()[0].name == "torch"


HEAVY = ("onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "onnxruntime", "openvino"])
def test_runtimes_agree_and_leave_the_network_alone(network, data, name):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = standardise(data.test.pixels[:4])
    run = prepare(network, name, x, Preparation(exporter="torchscript"))
    assert export.parity(network, run, data.test) < TOLERANCE
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_auto_knows_no_runtime_of_other_devices():
    with pytest.raises(lk.InputError, match="knows the runtimes of cpu and cuda; got 'mps': name a runtime"):
        compiling.first_usable("float32", "mps")


def test_runtimes_are_looked_up_and_not_imported():
    code = "import sys; from labkit.runtimes.registry import runtimes; print(len(runtimes()), sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name for name in HEAVY if f"'{name}'" in done.stdout}, done.stdout
