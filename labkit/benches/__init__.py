"""Every claim of the library as a command with a verdict, and the records that ship."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
