"""Spaces of cells whose nodes choose their inputs: the DARTS space in UNAS's form."""

from labkit.spaces.search_space import Edge, SearchSpace, Term
from labkit.system.errors import InputError

CELL_OPS = ("identity", "sep3x3", "maxpool3x3", "dil3x3", "sep5x5", "avgpool3x3", "sep7x7")
CELLS = {  # cells, nodes of one, width of the first, operations
    "tiny": (4, 2, 8, CELL_OPS[:4]),
    "cifar": (8, 4, 16, CELL_OPS),
    "cifar-deep": (20, 4, 36, CELL_OPS),  # for training the results of a search in "cifar"
}


def cells(size: str = "tiny", classes: int = 10) -> SearchSpace:
    """Make the space of cells whose nodes read two states: UNAS's form of DARTS (Liu, Simonyan, Yang, ICLR 2019).

    There are two kinds of cell, each chosen once for the whole network: normal cells, and two reduction cells, which
    halve the resolution and double the width, after a third and two thirds of the depth. A cell reads the two cells
    before it (s0, s1). Each of its nodes adds two operations, which four slots choose: two slots choose the inputs (s0,
    s1, or an earlier node n0, n1, ...) and two the operations. So every node has two inputs without a heuristic after
    the search (Vahdat et al. 2020). Auxiliary heads, drop path and cutout of the published trainings are left out.

    Args:
        size: "tiny": four cells of two nodes, 9,216 architectures a kind and 8.5e7 in all, for a CPU; "cifar": the
            published search space, 6.9e21; "cifar-deep": the same choices in 20 cells of width 36, for training the
            results of a search in "cifar".
        classes: number of classes of the images.

    Returns:
        The space, for 32x32 images.

    Raises:
        InputError: there is no such size.
    """
    if size not in CELLS:
        raise InputError(f"cells have the sizes {', '.join(CELLS)}; got {size!r}")
    count, nodes, width, ops = CELLS[size]
    kinds = ("normal", "reduction")
    inputs = [("s0", "s1", *(f"n{k}" for k in range(node))) for node in range(nodes)]
    slots = [slot for _ in kinds for node in range(nodes) for slot in (inputs[node], inputs[node], ops, ops)]
    edges = [Edge(3, 3 * width, fixed="convbn3x3", sources=(0,), target=1)]
    before, widths, halved, newest = (1, 1), (3 * width, 3 * width), False, 1
    for cell in range(count):
        halves = cell in (count // 3, 2 * count // 3)
        width *= 1 + halves
        states = [newest + 1, newest + 2]
        for state, source, wide, fixed in zip(states, before, widths, ("halve" if halved else "relu1x1", "relu1x1")):
            edges.append(Edge(wide, width, 2 if fixed == "halve" else 1, fixed=fixed, sources=(source,), target=state))
        for node in range(nodes):
            first = 4 * (nodes * halves + node)  # of the node's slots: two inputs, two operations
            into = states[-1] + 1
            for choice, source in enumerate(states):
                terms = tuple(Term(first + 2 + which, first + which, choice) for which in (0, 1))
                stride = 2 if halves and choice < 2 else 1
                edges.append(Edge(width, width, stride, terms=terms, sources=(source,), target=into))
            states.append(into)
        newest = states[-1] + 1
        edges.append(Edge(nodes * width, nodes * width, fixed="identity", sources=tuple(states[2:]), target=newest))
        before, widths, halved = (before[1], newest), (widths[1], nodes * width), halves
    return SearchSpace(f"cells-{size}", tuple(slots), tuple(edges), (3, 32, 32), classes, "average")
