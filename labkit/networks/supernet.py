"""Networks over a search space: the supernet that holds every candidate, and one derived network.

In shapes: B images, S slots, K candidates, N in {1, B} rows of op weights.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor, nn

from labkit.spaces import Architecture, Edge, SearchSpace
from labkit.spaces.ops import HEADS, OPS


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fix torch's global random state inside the block, and put it back after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside the block, passes in train mode normalise by the batch but leave running statistics alone."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [(m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before):
            norm.momentum, norm.num_batches_tracked = momentum, batches


@contextmanager
def frozen_parameters(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Inside the block `parameters` are frozen: no graph is kept for their gradients."""
    learning = [p for p in parameters if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_()


def operation(name: str, edge: Edge) -> nn.Module:
    """The module of the operation called `name` at `edge`."""
    return OPS.find(name)(edge.in_channels, edge.out_channels, edge.stride)


def weights_hash(module: nn.Module) -> str:
    """Twelve hex digits over the names and the values of all parameters and buffers."""
    hasher = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        hasher.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return hasher.hexdigest()[:12]


Module = TypeVar("Module", bound=nn.Module)


def in_memory_format(network: Module, memory_format: torch.memory_format) -> Module:
    """`network` itself, its weights in this memory format; on a CPU channels last is faster, above all in pooling."""
    return network.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs leave this form out


RunModule = Callable[[nn.Module, Tensor], Tensor]  # on what it reads


def _run(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)


class MixedOp(nn.Module):
    """All candidates of one edge, added up by their weights. Of a cell's edge that nobody chose: None."""

    def __init__(self, candidates: tuple[str, ...], edge: Edge):
        super().__init__()
        self.ops = nn.ModuleList(operation(name, edge) for name in candidates)

    def forward(
        self, x: Tensor, weights: Tensor, active: list[bool], one_hot: bool, run: RunModule = _run
    ) -> Tensor | None:
        """Weights (N, K). Candidates that are not active are not run: their weight is 0 for every image."""
        used = [k for k in range(len(self.ops)) if active[k]]
        if not used:
            return None
        if one_hot and len(used) == 1:
            return run(self.ops[used[0]], x)  # exactly the derived network's arithmetic
        return reduce(torch.add, (weights[:, k, None, None, None] * run(self.ops[k], x) for k in used))


class Chosen(nn.Module):
    """What an architecture chose for one edge of a cell: operations by name, and how often each is added."""

    def __init__(self, often: dict[str, int], edge: Edge):
        super().__init__()
        self.often = often
        self.ops = nn.ModuleDict({name: operation(name, edge) for name in often})

    def forward(self, x: Tensor) -> Tensor | None:
        """The sum of what was chosen; None where the edge has nothing."""
        each = ((op(x), self.often[name]) for name, op in self.ops.items())
        return reduce(torch.add, [y if times == 1 else times * y for y, times in each]) if self.often else None


class _EdgeNetwork(nn.Module):
    """A stem, edges between states and a head; `build` makes the module of each edge."""

    def __init__(self, space: SearchSpace, build: Callable[[Edge], nn.Module]):
        super().__init__()
        self.space = space
        self.body = nn.ModuleList(build(edge) for edge in space.edges)
        self.head = HEADS.find(space.head)(space.edges[-1].out_channels, space.sides()[-1], space.classes)
        place = {edge: e for e, edge in enumerate(space.chosen_edges)}
        self._route = [(*astuple(step), place.get(i)) for i, step in enumerate(space.route)]

    def _walk(
        self, x: Tensor, searched: Callable[[nn.Module, Tensor, int], Tensor | None], run: RunModule = _run
    ) -> Tensor:
        """`searched` runs the module of the edge with a choice whose place among those is given, `run` the others."""
        states, target = {0: x}, 0
        for (sources, target, done, place), module in zip(self._route, self.body):
            read = [states[s] for s in sources]
            x = read[0] if len(read) == 1 else torch.cat(read, 1)
            y = run(module, x) if place is None else searched(module, x, place)
            for state in done:
                del states[state]
            if y is not None:
                states[target] = states[target] + y if target in states else y
        return run(self.head, states[target])


class Supernet(_EdgeNetwork):
    """Every architecture of a space at once, sharing weights.

    In cells batch norm does not learn a scale or a shift here, as published: either could undo an edge's weight.
    """

    def __init__(self, space: SearchSpace, seed: int = 0):
        with seeded(seed):
            super().__init__(space, lambda e: operation(e.fixed, e) if e.fixed else MixedOp(space.candidates(e), e))
        if not space.is_chain:
            for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
                norm.requires_grad_(False)

    @property
    def mixed_passes(self) -> float:
        """How many architectures' work a mixed pass does: operations there are, for one that an architecture runs."""
        return round(sum(1 for _ in self.space.chances()) / self._operations, 9)

    def drawn_passes(self, n: int) -> float:
        """How many architectures' work a pass does in which `n` uniform draws share the images: operations drawn.

        One that any of them drew runs on all images.
        """
        return round(sum(1 - (1 - chance) ** n for chance in self.space.chances()) / self._operations, 9)

    def work(self, weights: Tensor) -> float:
        """How many architectures' work a pass under op weights (N, S, K) is: operations that any row uses."""
        return (self.space.edge_weights(weights) != 0).any(0).sum().item() / self._operations

    @property
    def _operations(self) -> float:
        """That an architecture runs, in the mean."""
        return sum(self.space.chances())

    def forward(self, x: Tensor, weights: Tensor, *, everything: bool = False, run: RunModule = _run) -> Tensor:
        """Class logits (B, classes) of images (B, C, H, W) under op weights (N, S, K), which may lie on the CPU.

        Zero weights without a gradient cost nothing: a one-hot pass runs only the chosen operations.

        Args:
            everything: run all of them all the same, without a look at the weights.
            run: of an operation on what it reads.
        """
        relaxed = everything or weights.requires_grad
        weights = self.space.edge_weights(weights)
        active = (self.space.edge_mask if relaxed else (weights != 0).any(0)).tolist()
        one_hot = not relaxed and bool(((weights == 0) | (weights == 1)).all())
        weights = weights.to(x.device)
        return self._walk(x, lambda mixed, h, e: mixed(h, weights[:, e], active[e], one_hot, run), run)


class Network(_EdgeNetwork):
    """One architecture: plain modules, nothing mixed, exportable."""

    def __init__(self, space: SearchSpace, architecture: Architecture, seed: int = 0):
        space.check(architecture)

        def build(edge: Edge) -> nn.Module:
            if edge.terms:
                return Chosen(space.chosen(edge, architecture), edge)
            return operation(space.candidates(edge)[0] if edge.slot is None else architecture.ops[edge.slot], edge)

        with seeded(seed):
            super().__init__(space, build)
        self.architecture = architecture

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (B, classes) of images (B, C, H, W)."""
        return self._walk(x, lambda op, h, _: op(h))


def derive(source: SearchSpace | Supernet, architecture: Architecture, *, seed: int = 0) -> Network:
    """The plain network of `architecture`: freshly initialised from a space, with shared weights from a supernet."""
    if isinstance(source, SearchSpace):
        return Network(source, architecture, seed)
    network = Network(source.space, architecture, seed)
    for edge, ours, shared in zip(source.space.edges, network.body, source.body):
        names = source.space.candidates(edge)
        if isinstance(ours, Chosen) and isinstance(shared, MixedOp):
            for name, op in ours.ops.items():
                op.load_state_dict(shared.ops[names.index(name)].state_dict())
            continue
        if edge.slot is not None and isinstance(shared, MixedOp):
            shared = shared.ops[names.index(architecture.ops[edge.slot])]
        ours.load_state_dict(shared.state_dict())
    network.head.load_state_dict(source.head.state_dict())
    return network.to(next(source.parameters()).device).train(source.training)
