"""The controls of the notebooks. They need ipywidgets and anywidget, which `import labkit` does without.

Every widget leaves a static picture in the cell's output, for readers without a kernel, and `check_all`
drives each through everything a reader can choose, so that a callback that raises is found before they do.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
