"""Spaces of cells whose nodes choose what they read: the DARTS space, in UNAS's form."""

from labkit.spaces.search_space import Edge, SearchSpace, Term
from labkit.system.errors import InputError

CELL_OPS = ("identity", "sep3x3", "maxpool3x3", "dil3x3", "sep5x5", "avgpool3x3", "sep7x7")
CELLS = {  # cells, nodes of one, width of the first, operations
    "tiny": (4, 2, 8, CELL_OPS[:4]),
    "cifar": (8, 4, 16, CELL_OPS),
    "cifar-deep": (20, 4, 36, CELL_OPS),  # in which what the other one found is trained
}


def cells(size: str = "tiny", classes: int = 10) -> SearchSpace:
    """Cells in which every node reads two states: UNAS's form of the DARTS space (Liu, Simonyan, Yang, ICLR 2019).

    Two kinds of cell, each chosen once for the whole network: normal ones, and two that halve the resolution and double
    the width, a third and two thirds of the way. A cell reads the two before it (s0, s1). Each of its nodes adds up two
    operations, and four slots say which: two for what is read (s0, s1, or an earlier node n0, n1, ...) and two for the
    operations. So each node has two inputs without a rule of thumb after the search (Vahdat et al. 2020).

    Auxiliary heads, drop path and cutout, with which the published networks were trained, are not here.

    `"tiny"`: four cells of two nodes, 9,216 architectures a kind and 8.5e7 in all, for a CPU. `"cifar"`: the published
    search space, 6.9e21. `"cifar-deep"`: the same choices in 20 cells of width 36, where what was found is trained.
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
