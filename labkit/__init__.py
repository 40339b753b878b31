"""labkit: hardware-aware neural architecture search that can be read, taught and checked.

space    = lk.spaces.five_layer()
data     = lk.data.glyphs(seed=0)
supernet = lk.Supernet(space, seed=0)
table    = lk.LatencyTable.measure(space)
result   = lk.search(supernet, data, table, lk.SearchConfig(latency_weight=0.1, seed=0))
"""

from labkit import data as data
from labkit import spaces as spaces
from labkit.baselines import random_search as random_search
from labkit.baselines import reuse_search as reuse_search
from labkit.baselines import scratch_search as scratch_search
from labkit.blackbox import Optimum as Optimum
from labkit.blackbox import optimize as optimize
from labkit.cards import Card as Card
from labkit.cards import Measurement as Measurement
from labkit.cards import Timing as Timing
from labkit.checkpoints import Checkpoint as Checkpoint
from labkit.checkpoints import Checkpoints as Checkpoints
from labkit.data import ImageSet as ImageSet
from labkit.descent import InTime as InTime
from labkit.descent import descend as descend
from labkit.descent import descend_in_time as descend_in_time
from labkit.distributions import ArchDistribution as ArchDistribution
from labkit.distributions import ArchSample as ArchSample
from labkit.errors import InputError as InputError
from labkit.judging import judge as judge
from labkit.latency import LatencyTable as LatencyTable
from labkit.latency import measure as measure
from labkit.networks import Network as Network
from labkit.networks import Supernet as Supernet
from labkit.networks import derive as derive
from labkit.objectives import Deadline as Deadline
from labkit.pareto import Frontier as Frontier
from labkit.pareto import Point as Point
from labkit.search_config import SearchConfig as SearchConfig
from labkit.search_config import SelectionConfig as SelectionConfig
from labkit.searching import SearchResult as SearchResult
from labkit.searching import search as search
from labkit.searching import sweep as sweep
from labkit.selection import select as select
from labkit.spaces import Architecture as Architecture
from labkit.spaces import Choices as Choices
from labkit.spaces import SearchSpace as SearchSpace
from labkit.training import TrainConfig as TrainConfig
from labkit.training import error as error
from labkit.training import train as train

_ON_DEMAND = (
    "additivity", "closed_loop", "comparison", "course", "deadline_bench", "deploy_bench", "editions",
    "engine_bench", "estimator_bench", "explorer", "export", "flips", "fusion", "headless", "optimize_bench",
    "plots", "ranking", "replays", "reports", "runs", "step_bench", "supernet_bench", "sweep_bench",
    "tensorrt_engines", "truth", "truth_report", "widgets",
)  # fmt: skip


def __getattr__(name: str):
    """Modules that bring matplotlib, ipywidgets or papermill are imported when they are first named."""
    if name in _ON_DEMAND:
        import importlib

        return importlib.import_module(f"labkit.{name}")
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
