"""Facts about the machine, against other sources of the same facts and against planted ones."""

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from labkit.system import device


def test_the_processor_is_named_as_lscpu_names_it(monkeypatch):
    name = device.device_name()
    assert name and name == name.strip()
    listed = Path("/proc/cpuinfo")
    if listed.exists() and "model name" in listed.read_text():
        assert f"model name\t: {name}\n" in listed.read_text()

    def missing(*_, **__):
        raise OSError

    monkeypatch.setattr("builtins.open", missing)
    monkeypatch.setattr(device.platform, "processor", lambda: "")
    assert device.device_name() == platform.machine(), "another system has no /proc"


def test_a_cpu_has_a_capability_and_no_driver():
    assert device.capability() == torch.backends.cpu.get_cpu_capability()
    assert device.driver() == "" and device.observed() == ""


@pytest.fixture
def gpu(monkeypatch):
    """A GPU whose nvidia-smi answers what the test puts into `said`; commands come back in `asked`."""
    seen = SimpleNamespace(said="1980, 2619, 41, 0x0000000000000004", asked=[])
    monkeypatch.setattr(device.torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2"))
    monkeypatch.setattr(device.torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(device.torch.cuda, "get_device_name", lambda _: "NVIDIA H200")

    def line(*command):
        seen.asked.append(command)
        return seen.said

    monkeypatch.setattr(device, "_first_line", line)
    return seen


def test_a_gpu_is_asked_about_itself(gpu):
    assert (device.device_name("cuda"), device.capability("cuda")) == ("NVIDIA H200", "9.0")
    text = device.observed("cuda")
    assert text == "SM 1980 MHz, memory 2619 MHz, 41 C, throttle reasons 0x0000000000000004"
    assert "GPU-1-2" in gpu.asked[-1], "of several GPUs it is this one's clocks"
    gpu.said = "570.1"
    assert device.driver("cuda") == "570.1"
    gpu.said = ""
    assert device.observed("cuda") == "" and device.driver("cuda") == "", "there is no nvidia-smi"


def test_a_command_gives_its_first_line_or_nothing():
    python = sys.executable
    assert device._first_line(python, "-c", "print('one'); print('two')") == "one"
    assert device._first_line(python, "-c", "raise SystemExit(3)") == ""
    assert device._first_line("/no/such/command") == ""


def test_the_commit_is_that_of_the_checkout(monkeypatch):
    def git(*command):
        here = Path(device.__file__).parent
        done = subprocess.run(["git", "-C", str(here), *command], capture_output=True, text=True)
        return done.stdout.strip()

    state = device.git_state.__wrapped__()
    if not git("ls-files", "device.py"):
        assert state == ""
        return
    assert state.rstrip("+") == git("rev-parse", "HEAD")[:10]
    said = {"ls-files": "device.py", "status": " M device.py", "rev-parse": "0123456789"}
    monkeypatch.setattr(device, "_first_line", lambda *command: said[command[3]])
    assert device.git_state.__wrapped__() == "0123456789+"
    said["status"] = ""
    assert device.git_state.__wrapped__() == "0123456789"
    said["ls-files"] = ""
    assert device.git_state.__wrapped__() == "", "installed inside another checkout"


def test_versions_and_today_are_those_of_the_installation():
    found = device.versions()
    assert found["python"] == platform.python_version() and found["torch"] == torch.__version__
    assert found["numpy"] == importlib.metadata.version("numpy")
    assert set(found) == {"python", "labkit", "torch", "torchvision", "onnx", "onnxruntime", "numpy"}
    before = datetime.date.today()
    assert before <= datetime.date.fromisoformat(device.today()) <= datetime.date.today()


def test_threads_are_set_inside_the_block_and_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), device.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


@pytest.fixture
def flags():
    """What may round, put back by assignment: these are properties, which monkeypatch would delete."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    yield cudnn, matmul
    cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize("first, second", [(True, False), (False, True), (False, False)])
def test_rounding_is_forbidden_inside_the_block_and_restored(flags, first, second):
    cudnn, matmul = flags
    cudnn.allow_tf32, matmul.allow_tf32 = first, second
    assert device.rounds_float32() == (first or second)
    with pytest.raises(ZeroDivisionError), device.ieee_float32():
        assert not device.rounds_float32()
        1 / 0  # noqa: B018
    assert (cudnn.allow_tf32, matmul.allow_tf32) == (first, second)
