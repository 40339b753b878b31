"""The precisions: every one is a dtype of some runtime, with a tolerance that fits its bits."""

import pytest
import torch

from labkit.deploy.precisions import EIGHT_BIT, PRECISIONS, TOLERANCE, TOLERANCES
from labkit.runtimes.base import DTYPES
from labkit.runtimes.registry import runtimes


@pytest.mark.parametrize("precision", PRECISIONS)
def test_some_runtime_takes_each_precision(precision):
    assert any(PRECISIONS[precision] in entry.dtypes for entry in runtimes())


def test_the_dtypes_of_the_runtimes_all_have_a_name():
    assert {dtype for entry in runtimes() for dtype in entry.dtypes} == set(PRECISIONS.values())
    assert set(DTYPES) <= set(PRECISIONS.values())


def test_fewer_bits_have_wider_tolerances():
    assert list(TOLERANCES) == list(PRECISIONS) and TOLERANCE == TOLERANCES["fp32"]
    assert TOLERANCES["fp32"] < TOLERANCES["fp16"] == TOLERANCES["bf16"] < TOLERANCES["int8"] == TOLERANCES["fp8"]
    rounding = torch.finfo(torch.bfloat16).eps / 2
    assert TOLERANCES["bf16"] > rounding, "a single rounding is allowed"
    assert TOLERANCES["fp32"] > 100 * torch.finfo(torch.float32).eps


def test_the_precisions_of_eight_bits_are_named_by_their_bits():
    assert {precision for precision in PRECISIONS if "8" in precision} == set(EIGHT_BIT)
