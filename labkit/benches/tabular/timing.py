"""Time every architecture of a space end to end, under the conditions of a latency table."""

from labkit import spaces
from labkit.benches.tabular.table import Timed
from labkit.latency.measuring import measure
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import derive
from labkit.spaces import SearchSpace
from labkit.system.errors import InputError

LARGEST = 5_000  # architectures; beyond that training all of them is no longer an afternoon


def time_all(
    space: SearchSpace,
    table: LatencyTable,
    *,
    seconds: float = 0.15,
    rounds: int = 15,
    device: str = "cpu",
) -> Timed:
    """Time every architecture end to end under the conditions of a latency table, in turn with each other.

    Args:
        space: The space of the table.
        table: Its card gives runtime, batch size, precision and threads.
        seconds: For each architecture.
        rounds: Blocks that these seconds are cut into.
        device: "cpu" or "cuda".

    Returns:
        The latencies, with the sums of the table.

    Raises:
        InputError: The table is of another space.
    """
    table.check(space)
    card = table.card
    conditions = card.conditions(device=device, seconds=seconds, rounds=rounds)
    measured = measure([derive(space, architecture) for architecture in space], conditions, image=space.image)
    name = f"{card.runtime}-b{card.batch_size}" + f"-{card.dtype}" * (card.dtype != "float32")
    timings = tuple(m.timing for m in measured)
    return Timed(name, measured[0].card, timings, tuple(map(table.table_ms, space)))


def table_of(space: SearchSpace, timed: Timed) -> LatencyTable:
    """Return the shipped table whose sums are stored with these latencies.

    Args:
        space: The space that was timed.
        timed: The latencies.

    Returns:
        The table.

    Raises:
        InputError: It is not shipped.
    """
    device, _, kind = timed.name.rpartition("/")
    name = f"{space.name}-{kind}"
    return LatencyTable.load(f"{device}/{name}" if device else name)


def space_of(table: LatencyTable) -> SearchSpace:
    """Return the space that a table was measured for.

    Args:
        table: The table.

    Returns:
        The space, with the default number of classes.

    Raises:
        InputError: The space is another one now, or has more than `LARGEST` architectures.
    """
    space = spaces.by_name(table.space)
    table.check(space)
    if space.size > LARGEST:
        raise InputError(f"{space.name} has {space.size:,} architectures; at most {LARGEST:,} can all be timed")
    return space
