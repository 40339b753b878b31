"""The supernet, the networks derived from it, their training and their complexity."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
