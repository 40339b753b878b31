"""Figures: each function is given results, draws one thing on one axes and returns the axes.

Numbers are computed elsewhere; colour never stands alone; every axis has its unit and says where its numbers are from.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
