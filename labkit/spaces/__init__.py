"""Search spaces and architectures as plain data.

A space has edges between states, from the image to a fixed head: a chain of layers, or cells whose nodes choose their
inputs.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
