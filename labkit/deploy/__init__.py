"""A network leaves PyTorch: ONNX, compiled functions, parity, the race of runtimes, the closed loop."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
