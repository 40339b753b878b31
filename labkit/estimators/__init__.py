"""Distributions over architectures, estimators of a gradient with respect to them, and the costs that they minimise.

No image and no network is needed here: a cost is any function of sampled choices.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
