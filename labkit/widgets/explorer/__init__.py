"""What a latency weight or a target chooses among known architectures, and the picture of it.

Python is the oracle: `choose`, `frontier` and `reachable` say what must be drawn. The browser twin,
`explorer.js`, repeats only `choose`, because a key press has no time to ask a kernel.
Everywhere: error is a fraction of images, latency is in ms, a weight is error fraction per ms.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
