"""Eight bits: types of the quantised model and the range of its weights."""

import onnx

from labkit.data import standardise
from labkit.runtimes.base import Preparation
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import quantised
from labkit.runtimes.registry import runtime


def test_the_model_is_quantised_as_its_runtime_wants_it(network, data):
    x = standardise(data.train.pixels[:64])
    model = onnx_bytes(network, x[:2], exporter="torchscript")
    kinds = {}
    for recipe in ("u8s8", "s8s8", "fp8"):
        made = onnx.load_from_string(quantised(model, x, recipe))
        onnx.checker.check_model(made)
        kinds[recipe] = {part.data_type for part in made.graph.initializer if "zero_point" in part.name}
    types = onnx.TensorProto
    assert kinds["u8s8"] == {types.UINT8, types.INT8, types.INT32}, "activations, weights, biases"
    for name in ("onnxruntime", "openvino"):
        how = Preparation("int8", onnx_model=model, calibration=data.train[:64])
        made = onnx.load_from_string(runtime(name).model(network, x[:2], how))
        assert {part.data_type for part in made.graph.initializer if "zero_point" in part.name} == kinds["u8s8"]
    assert kinds["s8s8"] == {types.INT8} and kinds["fp8"] == {types.FLOAT8E4M3FN}


def test_weights_for_a_cpu_keep_to_seven_bits(network, data):
    """Sixteen bits hold two products of eight bits and seven, so no processor saturates; two of eight do not fit."""
    x = standardise(data.train.pixels[:64])
    plain = onnx_bytes(network, x[:2], exporter="torchscript")

    def largest(model):
        parts = onnx.load_from_string(model).graph.initializer
        arrays = [onnx.numpy_helper.to_array(p) for p in parts if p.data_type == onnx.TensorProto.INT8]
        return max(int(abs(array.astype(int)).max()) for array in arrays)

    made = runtime("onnxruntime").model(
        network, x[:2], Preparation("int8", onnx_model=plain, calibration=data.train[:64])
    )
    assert largest(made) <= 64 < largest(quantised(plain, x, "u8s8"))
    assert 2 * 255 * 64 < 2**15 <= 2 * 255 * 127
