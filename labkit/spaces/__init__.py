"""Search spaces and architectures, as plain data.

A space is edges between states, from the image to a fixed head: a chain, or cells whose nodes choose what they read.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
