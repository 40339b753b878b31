"""Search by few calls of any cost: a loop, proposers with and without a model, and baselines."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
