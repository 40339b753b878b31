"""labkit: hardware-aware neural architecture search that can be read, taught and checked.

space    = lk.spaces.five_layer()
data     = lk.data.glyphs(seed=0)
supernet = lk.Supernet(space, seed=0)
table    = lk.LatencyTable.measure(space)
result   = lk.search(supernet, data, table, lk.SearchConfig(latency_weight=0.1, seed=0))
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
