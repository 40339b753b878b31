"""Facts about the machine: processor, versions, threads and rounding."""

import datetime
import importlib.metadata
import platform
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch


def device_name(device: str | torch.device = "cpu") -> str:
    """Return the name of the processor, as its maker prints it.

    Args:
        device: "cpu" or a CUDA device.

    Returns:
        The name, such as "NVIDIA H200"; the architecture, such as "x86_64", where a CPU has no name.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def capability(device: str | torch.device = "cpu") -> str:
    """Return what a device can do.

    Args:
        device: "cpu" or a CUDA device.

    Returns:
        The instruction set that torch uses on a CPU, such as "AVX512"; the compute capability of a GPU, such as "9.0".
    """
    if torch.device(device).type == "cuda":
        return "{}.{}".format(*torch.cuda.get_device_capability(device))
    return torch.backends.cpu.get_cpu_capability()


def driver(device: str | torch.device = "cpu") -> str:
    """Return the version of a GPU's driver.

    Args:
        device: "cpu" or a CUDA device.

    Returns:
        The version; "" for a CPU, or where nvidia-smi gives none.
    """
    if torch.device(device).type != "cuda":
        return ""
    return _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def observed(device: str | torch.device = "cpu") -> str:
    """Read the present clocks, temperature and throttling of a GPU from nvidia-smi.

    Args:
        device: "cpu" or a CUDA device.

    Returns:
        One line of text; "" for a CPU, or where nvidia-smi gives nothing.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return ""
    wanted = "clocks.sm,clocks.mem,temperature.gpu,clocks_throttle_reasons.active"
    which = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    found = _first_line("nvidia-smi", "-i", which, f"--query-gpu={wanted}", "--format=csv,noheader,nounits").split(", ")
    if len(found) != 4:
        return ""
    sm, memory, celsius, throttled = found
    return f"SM {sm} MHz, memory {memory} MHz, {celsius} C, throttle reasons {throttled}"


@cache
def git_state() -> str:
    """Return the commit of labkit's files.

    Returns:
        Ten hex digits, followed by "+" if a file was changed since; "" outside a git checkout.
    """
    here = Path(__file__)
    git = ("git", "-C", str(here.parent))
    if not _first_line(*git, "ls-files", here.name):  # installed inside a checkout of something else
        return ""
    changed = _first_line(*git, "status", "--porcelain", "--", ".")
    return _first_line(*git, "rev-parse", "--short=10", "HEAD") + "+" * bool(changed)


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().split("\n")[0]


def today() -> str:
    """Return today's local date as YYYY-MM-DD."""
    return datetime.date.today().isoformat()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on.

    Returns:
        Versions by name: "python", "labkit", "torch", "torchvision", "onnx", "onnxruntime" and "numpy".
    """
    packages = ("labkit", "torch", "torchvision", "onnx", "onnxruntime", "numpy")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found, "torch": str(torch.__version__)}


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set the number of threads of torch inside the block; runtimes take theirs from it.

    Args:
        n: number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rounds_float32() -> bool:
    """Return whether a GPU may round float32 products to TensorFloat-32 now."""
    return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Forbid a GPU to round float32 products inside the block.

    PyTorch lets convolutions round to TensorFloat-32 by default: ten bits of fraction in place of 23.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # the compiler's advice to round
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
