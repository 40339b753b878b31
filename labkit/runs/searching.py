"""A search that leaves a run's folder: it resumes where an earlier one with the same arguments was stopped."""

from pathlib import Path

from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.baselines import random_search
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.searching import search as search_weights
from labkit.oneshot.selection import select
from labkit.runs.run import CHECKPOINTS, SELECTION_LOG, Run, load, save
from labkit.spaces import SearchSpace
from labkit.system import storage
from labkit.system.checkpoints import Checkpoints


def search(
    folder: str | Path,
    space: SearchSpace,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    *,
    selection: SelectionConfig | None = None,
    random: bool = False,
    device: str = "cpu",
    progress: bool = False,
) -> Run:
    """Search `space` and save the run. A stopped call resumes when it is made again, and ends bit for bit the same.

    Args:
        folder: of the run. An earlier run in it is replaced.
        data: training and validation images; the test images are not looked at.
        table: latency of the space's parts, in ms.
        config: of the search. Its seed also draws the first weights.
        selection: the second stage, in which training decides among the most probable; None leaves it out.
        random: random search at the cost of a UNAS search, the baseline, in place of the search.
        device: where weights are trained, "cpu" or "cuda".
        progress: whether a bar is drawn.

    Returns:
        The run as `load` reads it.

    Raises:
        InputError: the folder cannot be written, or the parts do not fit each other.
        KeyboardInterrupt: it was stopped; what is done is kept in the folder.
    """
    folder = storage.writable_folder(folder)
    data, checkpoints = data.to(device), Checkpoints(folder / CHECKPOINTS)
    go = random_search if random else search_weights
    supernet = Supernet(space, config.seed).to(device)
    result = go(supernet, data, table, config, checkpoints=checkpoints, progress=progress)
    if selection is not None:
        (result,) = select([result], data, table, selection, log=folder / CHECKPOINTS / SELECTION_LOG)
    save(result, folder, data, table)
    checkpoints.clear()
    return load(folder)
