"""The course: what a notebook calls, its exercises, its editions, and running it headless."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
