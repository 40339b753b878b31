"""Runtimes: PyTorch and its compilers, ONNX Runtime, OpenVINO, TensorRT."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
