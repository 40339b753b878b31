import pytest
import torch

import labkit as lk
from labkit.networks.supernet import frozen_parameters, frozen_statistics, seeded


@pytest.fixture(params=["five_layer", "mobile-tiny", "cells-tiny"])
def supernet(request):
    """A supernet whose batch norms have seen something, so that running statistics are not the initial ones."""
    net = lk.Supernet(lk.spaces.by_name(request.param), seed=1)
    with torch.no_grad(), seeded(0):
        weights = torch.rand(1, *net.space.mask.shape)
        for _ in range(3):
            net.train()(2 * torch.randn(16, 3, 32, 32) + 1, weights)
    return net.eval()


def test_derived_network_equals_the_one_hot_supernet_bit_for_bit(supernet, generator):
    images = torch.randn(8, 3, 32, 32, generator=generator)
    for architecture in supernet.space.sample(6, generator):
        network = lk.derive(supernet, architecture)
        with torch.no_grad():
            assert torch.equal(network(images), supernet(images, supernet.space.encode(architecture)[None]))


def test_the_comparison_sees_another_architecture(supernet, generator):
    images = torch.randn(8, 3, 32, 32, generator=generator)
    one, other = supernet.space.sample(2, generator)
    with torch.no_grad():
        assert not torch.equal(lk.derive(supernet, one)(images), supernet(images, supernet.space.encode(other)[None]))


def test_only_the_chosen_operations_run(supernet, generator):
    ran, space = [], supernet.space
    for place, mixed in enumerate(m for m in supernet.body if hasattr(m, "ops")):
        for k, op in enumerate(mixed.ops):
            op.register_forward_hook(lambda *_, where=(place, k): ran.append(where))
    (architecture,) = space.sample(1, generator)
    supernet(torch.randn(2, 3, 32, 32), space.encode(architecture)[None])
    ops, expected = architecture.ops, []
    for place, edge in enumerate(space.edges[i] for i in space.chosen_edges):
        gates = [(t.ops, ops[t.gate] == space.slots[t.gate][t.choice]) for t in edge.terms] or [(edge.slot, True)]
        expected += [(place, k) for k in sorted({space.slots[s].index(ops[s]) for s, is_open in gates if is_open})]
    assert ran == expected


def test_a_mixture_is_the_weighted_sum(supernet, generator):
    """Against the sum written out, at the first searched layer."""
    edge = supernet.space.chosen_edges[0]
    x = torch.randn(4, 3, 32, 32, generator=generator)
    for module in supernet.body[: 2 if supernet.space.pairs else edge]:
        x = module(x)
    weights = torch.rand(1, len(supernet.body[edge].ops), generator=generator)
    expected = sum(w * op(x) for w, op in zip(weights[0], supernet.body[edge].ops))
    mixed = supernet.body[edge](x, weights, [True] * weights.shape[1], False)
    torch.testing.assert_close(mixed, expected)


def test_weights_may_differ_from_image_to_image(supernet, generator):
    images = torch.randn(3, 3, 32, 32, generator=generator)
    rows = torch.stack([supernet.space.encode(a) for a in supernet.space.sample(3, generator)])
    with torch.no_grad():
        together = supernet(images, rows)
        apart = torch.cat([supernet(images[i : i + 1], rows[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart)


def test_relaxed_weights_get_a_gradient_even_where_they_are_zero(supernet):
    (architecture,) = supernet.space.sample(1, torch.Generator().manual_seed(3))
    weights = supernet.space.encode(architecture)[None].requires_grad_()
    supernet(torch.randn(2, 3, 32, 32), weights).square().sum().backward()
    assert (weights.grad[0][supernet.space.mask] != 0).float().mean() > 0.9


def test_frozen_statistics(supernet):
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    weights = supernet.space.mask.float()[None]
    with frozen_statistics(supernet):
        supernet.train()(torch.randn(4, 3, 32, 32), weights)
    assert all(torch.equal(before[name], value) for name, value in supernet.named_buffers())
    supernet.train()(torch.randn(4, 3, 32, 32), weights)
    assert not all(torch.equal(before[name], value) for name, value in supernet.named_buffers())


def test_a_seed_decides_the_weights_and_leaves_the_global_state(space):
    state = torch.get_rng_state()
    first, again, other = (lk.Supernet(space, seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    equal = lambda a, b: all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    assert equal(first, again) and not equal(first, other)


def test_a_wrong_architecture_is_refused(space):
    with pytest.raises(lk.InputError, match="slot 0"):
        lk.derive(space, lk.Architecture("five_layer", ("skip",) * 5))


def test_held_weights_take_no_part_in_the_slope(supernet, generator):
    """Op weights learn the same, shared ones nothing; afterwards both do again, but for what was held before."""
    parameters = [p for p in supernet.parameters() if p.requires_grad]
    parameters[0].requires_grad_(False)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    weights = lk.ArchDistribution(supernet.space).probs()[None].detach().requires_grad_()
    (whole,) = torch.autograd.grad(supernet(images, weights).sum(), [weights])
    with frozen_parameters(parameters):
        assert not any(p.requires_grad for p in parameters)
        (alone,) = torch.autograd.grad(supernet(images, weights).sum(), [weights])
    torch.testing.assert_close(alone, whole)
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)


@pytest.mark.parametrize("name", ["mobile-tiny", "cells-tiny"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_work_of_several_draws_is_the_mean_of_what_they_use(n, name):
    """Against the candidates that many draws of n architectures used."""
    supernet = lk.Supernet(lk.spaces.by_name(name))
    space, draw = supernet.space, torch.Generator().manual_seed(0)
    used = [
        supernet.weighted_passes(torch.stack([space.encode(a) for a in space.sample(n, draw)])) for _ in range(2_000)
    ]
    assert supernet.drawn_passes(n) == pytest.approx(sum(used) / len(used), abs=0.02)
    if name == "mobile-tiny":
        rows = torch.stack([space.encode(a) for a in space.sample(n, draw)])
        assert supernet.weighted_passes(rows) == pytest.approx((rows != 0).any(0).sum().item() / len(space.slots))
