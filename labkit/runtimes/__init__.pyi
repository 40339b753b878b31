from .registry import Run as Run
from .registry import Runtime as Runtime
from .registry import loaded as loaded
from .registry import prepare as prepare
from .registry import runtime as runtime
from .registry import runtimes as runtimes
from .registry import usable as usable
