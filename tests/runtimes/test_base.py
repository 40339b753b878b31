"""What a runtime is before it adds anything of its own."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

import labkit as lk
from labkit.runtimes.base import Preparation, Runtime, version_of


class Bare(Runtime):
    name = "bare"
    dtypes = ("float32", "int8")
    eight_bits: ClassVar[Mapping[str, str]] = {"int8": "u8s8"}


EXAMPLE = torch.zeros(2, 3, 8, 8)


def test_a_bare_runtime_is_here_on_the_cpu_and_is_never_tried_by_auto():
    bare = Bare()
    assert bare.available and bare.reason is None and bare.devices == ("cpu",) and bare.preference is None
    assert not (bare.needs_trial or bare.deploys or bare.repeats)
    assert bare.version == torch.__version__ and repr(bare) == "Bare('bare')"
    with pytest.raises(NotImplementedError):
        bare.prepare(torch.nn.Flatten(), EXAMPLE, Preparation())


def test_what_lacks_something_is_not_available(monkeypatch):
    monkeypatch.setattr(Bare, "reason", "bare is not installed")
    assert not Bare().available


def test_a_model_is_made_in_the_dtypes_of_the_runtime_only():
    with pytest.raises(lk.InputError, match="bare takes float32, int8; got 'float16'"):
        Bare().model(torch.nn.Flatten(), EXAMPLE, Preparation("float16"))


def test_a_model_that_was_exported_already_is_taken_as_it_is():
    assert Bare().model(torch.nn.Flatten(), EXAMPLE, Preparation(onnx_model=b"exported")) == b"exported"


def test_eight_bits_need_real_images():
    with pytest.raises(lk.InputError, match="int8 takes its ranges from real images: pass calibration="):
        Bare().model(torch.nn.Flatten(), EXAMPLE, Preparation("int8", onnx_model=b"exported"))


def test_versions_are_those_of_installed_packages():
    assert torch.__version__.startswith(version_of("torch").split("+")[0])
    assert version_of("no-such-package-anywhere") is None
