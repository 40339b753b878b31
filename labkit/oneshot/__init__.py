"""Search on shared weights: one supernet is trained once and ranks every architecture.

`config`, `task_cost`, `controllers`, `run` and `searching` are the search; `evaluation` and `selection` choose from it.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
