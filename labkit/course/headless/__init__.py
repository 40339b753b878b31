"""Run notebooks with no one watching, and believe the result: papermill behind a gate.

papermill alone passes a notebook whose widget callback raised, whose parameter name was mistyped, that
called `sys.exit(0)` half-way, whose shell command failed or whose thread died. So a run here goes
parameters checked -> banned code refused -> papermill in its own process, offline, under a time limit
-> the written notebook searched for everything papermill passes over.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)  # papermill_main must import no nbformat by it
