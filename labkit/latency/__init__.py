"""Milliseconds: a stopwatch, provenance cards, tables of parts, and predictors of whole networks."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
