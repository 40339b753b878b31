"""A search that writes a run's folder. The same call resumes a search that was stopped."""

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
    """Search a space and save the run. The same call resumes a stopped search and ends with the same bits.

    Args:
        folder: of the run. An earlier run in it is replaced.
        space: the search space.
        data: training and validation images; the test images are not used.
        table: latency of the operations.
        config: of the search. Its seed also gives the first weights.
        selection: the second stage, in which training decides among the most probable architectures; None leaves it
            out.
        random: run the baseline, random search at the cost of a UNAS search, in place of the search.
        device: where the weights are trained, "cpu" or "cuda".
        progress: show a progress bar.

    Returns:
        The run, as `load` reads it.

    Raises:
        InputError: the folder cannot be written, or the arguments do not fit each other.
        KeyboardInterrupt: the search was stopped; its checkpoints are in the folder.
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
