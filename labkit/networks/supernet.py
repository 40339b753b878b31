"""Networks of a search space: the supernet, which holds every candidate, and the network of one architecture.

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
    """Seed torch's global random state inside the block and restore it afterwards.

    Args:
        seed: the seed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Freeze running statistics inside the block: passes in train mode normalise by the batch and do not update them.

    Args:
        module: the network, whose batch norms are frozen.
    """
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
    """Freeze parameters inside the block: no graph is kept for their gradients.

    Args:
        parameters: what to freeze; those that already are frozen stay so afterwards.
    """
    learning = [p for p in parameters if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_()


def operation(name: str, edge: Edge) -> nn.Module:
    """Build an operation for an edge.

    Args:
        name: a registered operation.
        edge: gives widths and stride.

    Returns:
        The module.

    Raises:
        InputError: there is no such operation, or it does not fit these widths and this stride.
    """
    return OPS.find(name)(edge.in_channels, edge.out_channels, edge.stride)


def weights_hash(module: nn.Module) -> str:
    """Hash the names and values of all parameters and buffers.

    Args:
        module: any module.

    Returns:
        Twelve hex digits.
    """
    hasher = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        hasher.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return hasher.hexdigest()[:12]


Module = TypeVar("Module", bound=nn.Module)


def in_memory_format(network: Module, memory_format: torch.memory_format) -> Module:
    """Convert the weights of a network in place. On a CPU channels last is faster, most of all for pooling.

    Args:
        network: the network.
        memory_format: such as torch.channels_last.

    Returns:
        `network`.
    """
    return network.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs leave this form out


RunModule = Callable[[nn.Module, Tensor], Tensor]  # module, its input -> its output


def _run(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)


class MixedOp(nn.Module):
    """All candidates of one edge; the output is the sum of their outputs by their weights.

    Args:
        candidates: (K,) names of the operations.
        edge: gives widths and stride.
    """

    def __init__(self, candidates: tuple[str, ...], edge: Edge):
        super().__init__()
        self.ops = nn.ModuleList(operation(name, edge) for name in candidates)

    def forward(
        self, x: Tensor, weights: Tensor, active: list[bool], one_hot: bool, run: RunModule = _run
    ) -> Tensor | None:
        """Add up the outputs of the active candidates.

        Args:
            x: (B, C, H, W).
            weights: (N, K) weights of the candidates.
            active: (K,) whether each candidate runs; the weights of the others are 0 for every image.
            one_hot: whether all weights are 0 or 1.
            run: calls an operation on its input.

        Returns:
            (B, out_channels, H / stride, W / stride); None where no candidate is active.
        """
        used = [k for k in range(len(self.ops)) if active[k]]
        if not used:
            return None
        if one_hot and len(used) == 1:
            return run(self.ops[used[0]], x)  # exactly the derived network's arithmetic
        return reduce(torch.add, (weights[:, k, None, None, None] * run(self.ops[k], x) for k in used))


class Chosen(nn.Module):
    """The operations that an architecture chose for one edge of a cell.

    Args:
        often: number of times that the output of each operation is added, by name.
        edge: gives widths and stride.
    """

    def __init__(self, often: dict[str, int], edge: Edge):
        super().__init__()
        self.often = often
        self.ops = nn.ModuleDict({name: operation(name, edge) for name in often})

    def forward(self, x: Tensor) -> Tensor | None:
        """Add up the outputs of the chosen operations.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, out_channels, H / stride, W / stride); None where the edge has no operation.
        """
        each = ((op(x), self.often[name]) for name, op in self.ops.items())
        return reduce(torch.add, [y if times == 1 else times * y for y, times in each]) if self.often else None


class _EdgeNetwork(nn.Module):
    """A stem, edges between states and a head; `build` makes the module of each edge."""

    def __init__(self, space: SearchSpace, build: Callable[[Edge], nn.Module]):
        super().__init__()
        self.space = space
        self.body = nn.ModuleList(build(edge) for edge in space.edges)
        self.head = HEADS.find(space.head)(space.edges[-1].out_channels, space.sizes()[-1], space.classes)
        place = {edge: e for e, edge in enumerate(space.chosen_edges)}
        self._route = [(*astuple(step), place.get(i)) for i, step in enumerate(space.route)]

    def _walk(
        self, x: Tensor, searched: Callable[[nn.Module, Tensor, int], Tensor | None], run: RunModule = _run
    ) -> Tensor:
        """Run all edges: those with a choice by `searched`, which also gets their index among them, others by `run`."""
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
    """A network with all candidates of all slots: every architecture of a space, with shared weights.

    In cells batch norm learns no scale and shift, as published: either could undo the weight of an edge.

    Args:
        space: the search space.
        seed: of the initial weights.

    Attributes:
        space: the search space.
    """

    def __init__(self, space: SearchSpace, seed: int = 0):
        with seeded(seed):
            super().__init__(space, lambda e: operation(e.fixed, e) if e.fixed else MixedOp(space.candidates(e), e))
        if not space.is_chain:
            for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
                norm.requires_grad_(False)

    @property
    def mixed_passes(self) -> float:
        """Cost of a mixed pass, in passes of one architecture: all operations over the mean number that one runs."""
        return round(sum(1 for _ in self.space.chances()) / self._operations, 9)

    def drawn_passes(self, n: int) -> float:
        """Return the expected cost of a pass in which several uniform architectures share the images.

        An operation that any of them has runs on all images.

        Args:
            n: number of architectures.

        Returns:
            The cost, in passes of one architecture.
        """
        return round(sum(1 - (1 - chance) ** n for chance in self.space.chances()) / self._operations, 9)

    def weighted_passes(self, weights: Tensor) -> float:
        """Return the cost of a pass under given op weights, which runs the operations that any row uses.

        Args:
            weights: (N, S, K) op weights.

        Returns:
            The cost, in passes of one architecture.
        """
        return (self.space.edge_weights(weights) != 0).any(0).sum().item() / self._operations

    @property
    def _operations(self) -> float:
        """Mean number of operations with a choice that an architecture runs."""
        return sum(self.space.chances())

    def forward(self, x: Tensor, weights: Tensor, *, everything: bool = False, run: RunModule = _run) -> Tensor:
        """Compute class logits of images.

        Without a gradient in the weights, operations of weight 0 do not run: a one-hot pass runs only the chosen ones.

        Args:
            x: (B, C, H, W) standardised images.
            weights: (N, S, K) op weights of all images (N = 1) or of each (N = B), on any device.
            everything: run all operations, whatever their weights.
            run: calls an operation on its input.

        Returns:
            (B, classes) logits.
        """
        relaxed = everything or weights.requires_grad
        weights = self.space.edge_weights(weights)
        active = (self.space.edge_mask if relaxed else (weights != 0).any(0)).tolist()
        one_hot = not relaxed and bool(((weights == 0) | (weights == 1)).all())
        weights = weights.to(x.device)
        return self._walk(x, lambda mixed, h, e: mixed(h, weights[:, e], active[e], one_hot, run), run)


class Network(_EdgeNetwork):
    """The network of one architecture, of plain modules, so that it can be exported.

    Args:
        space: the search space.
        architecture: one of this space.
        seed: of the initial weights.

    Attributes:
        space: the search space.
        architecture: the architecture.

    Raises:
        InputError: the architecture does not belong to the space.
    """

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
        """Compute class logits of images.

        Args:
            x: (B, C, H, W) standardised images.

        Returns:
            (B, classes) logits.
        """
        return self._walk(x, lambda op, h, _: op(h))


def derive(source: SearchSpace | Supernet, architecture: Architecture, *, seed: int = 0) -> Network:
    """Build the network of an architecture.

    Args:
        source: a space, for initial weights, or a supernet, for a copy of its shared weights.
        architecture: one of the space.
        seed: of the initial weights.

    Returns:
        The network; from a supernet on the same device and in the same mode.

    Raises:
        InputError: the architecture does not belong to the space.
    """
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
