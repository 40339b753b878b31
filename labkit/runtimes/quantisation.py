"""Quantise an ONNX model to eight bits, with ranges from real images.

Each runtime has a recipe that it accepts, and they differ (ONNX Runtime's default is refused by TensorRT):

    u8s8  CPUs, by ONNX Runtime or OpenVINO: unsigned activations, signed weights, one scale a channel, bias quantised
    s8s8  TensorRT: everything signed and symmetric, one scale a channel, bias in float
    fp8   TensorRT on GPUs that have it: E4M3 floats of eight bits, one scale a tensor

On a CPU the weights keep to seven bits. Processors without VNNI add pairs of products in sixteen bits, which saturate
with full eight-bit weights: logits were off by 17 % of the largest one there, and by 2 % with seven.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from torch import Tensor

from labkit.system.errors import InputError, in_one_line

RECIPES = ("u8s8", "s8s8", "fp8")
LEAST_IMAGES = 32
CALIBRATION = 256  # images that eight bits take their ranges from


def quantised(model: bytes, images: Tensor, recipe: str, *, seven_bit_weights: bool = False) -> bytes:
    """Quantise a float32 ONNX model to eight bits by pairs of quantise and dequantise nodes.

    Args:
        model: the serialised float32 model.
        images: real images (N, C, H, W) as the network sees them, at least 32, from which the ranges are taken.
        recipe: "u8s8", "s8s8" or "fp8", as the runtime reads it.
        seven_bit_weights: keep weights to seven bits, for CPUs whose sums of products would saturate.

    Returns:
        The serialised model.

    Raises:
        InputError: the recipe is unknown, there are too few images, or the model cannot be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, quantize_static

    if recipe not in RECIPES:
        raise InputError(f"quantisation recipes are {', '.join(RECIPES)}; got {recipe!r}")
    if len(images) < LEAST_IMAGES:
        raise InputError(f"ranges are calibrated on at least {LEAST_IMAGES} real images; got {len(images)}")
    refused = in_one_line("this ONNX model cannot be quantised", "export the network again, or take another precision")
    with refused, tempfile.TemporaryDirectory() as folder, _quiet():
        out = Path(folder) / "quantised.onnx"
        reader = _Batches(images)
        settings = {**_settings(recipe), "reduce_range": seven_bit_weights}
        quantize_static(onnx.load_from_string(model), str(out), reader, quant_format=QuantFormat.QDQ, **settings)
        return out.read_bytes()


def _settings(recipe: str) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod, QuantType

    if recipe == "u8s8":
        return {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    float_bias = {"AddQDQPairToWeight": True, "QuantizeBias": False}
    if recipe == "s8s8":
        options = {"ActivationSymmetric": True, "WeightSymmetric": True, **float_bias}
        types = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
        return {**types, "per_channel": True, "extra_options": options}
    return {
        "activation_type": QuantType.QFLOAT8E4M3FN,
        "weight_type": QuantType.QFLOAT8E4M3FN,
        "per_channel": False,
        "calibrate_method": CalibrationMethod.Distribution,
        "op_types_to_quantize": ["Conv", "Gemm"],
        "extra_options": float_bias,
    }


class _Batches:
    """The calibration data reader of ONNX Runtime."""

    def __init__(self, images: Tensor, size: int = 32):
        self.batches: Iterator[Tensor] = iter(images.detach().cpu().split(size))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises on pre-processing that the exporter has done already, and prints its histograms."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
