"""Image sets as tensors: generated glyphs, scikit-learn's digits, and real sets through torchvision.

Every set is 32x32 RGB, so every space takes every set.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
