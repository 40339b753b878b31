from .loop import METHODS as METHODS
from .loop import Optimum as Optimum
from .loop import Trial as Trial
from .loop import optimize as optimize
from .proposer import Goal as Goal
from .proposer import Proposer as Proposer
