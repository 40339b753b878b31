"""Cells whose nodes choose what they read: the published sizes, the formula written out, and UNAS's penalty."""

import dataclasses
import itertools
import json

import pytest
import torch
import torch.nn.functional as F

import labkit as lk
from labkit import Checkpoints, SearchConfig
from labkit.estimators.costs import duplicates, generalisation_loss
from labkit.networks import complexity
from labkit.networks.supernet import frozen_statistics
from labkit.oneshot.controllers import Controller
from labkit.oneshot.evaluation import _errors, _errors_one_by_one
from labkit.oneshot.task_cost import TaskCost
from labkit.spaces import Edge, Term

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=3, batch_size=16, evaluation_images=100, calibration_images=64
)
# Of the released architectures, in the order of the slots: nodes of the normal cell, then of the reduction.
CIFAR10 = (
    "s0 s0 sep5x5 identity  s0 s1 identity dil3x3  s0 s1 sep3x3 dil3x3  s1 s0 sep3x3 dil3x3 "
    "s0 s0 sep3x3 sep5x5  s1 s0 identity sep3x3  s1 s0 avgpool3x3 identity  n1 s1 sep5x5 avgpool3x3"
)
CIFAR100 = (
    "s0 s0 sep3x3 dil3x3  s1 s0 dil3x3 sep3x3  s0 s1 identity sep3x3  s1 s0 sep5x5 sep3x3 "
    "s0 s0 sep7x7 sep3x3  s1 s0 sep3x3 sep5x5  s1 s0 sep7x7 dil3x3  s0 n1 dil3x3 sep3x3"
)


@pytest.fixture(scope="module")
def cells():
    return lk.spaces.cells("tiny")


@pytest.fixture(scope="module")
def batches(data):
    return [(x.double(), y) for x, y in (next(part.batches(5)) for part in (data.train, data.valid))]


@pytest.fixture(scope="module")
def timings(cells):
    """Its parts timed, for a moment: what they are does not matter here."""
    return lk.LatencyTable.measure(cells, lk.TimingConditions(seconds=0.001, rounds=2))


# --- what it is -------------------------------------------------------------------------------------------------


def test_the_published_sizes():
    """Vahdat et al. 2020: 16 categoricals a kind of cell, 168 logits; the supernet of its search, without auxiliary."""
    space = lk.spaces.cells("cifar")
    assert len(space.slots) == 32 and space.mask.sum() == 168
    assert space.size == (2 * 2 * 49 * 3 * 3 * 49 * 4 * 4 * 49 * 5 * 5 * 49) ** 2
    assert sum(p.numel() for p in lk.Supernet(space).parameters() if p.requires_grad) == 2_479_770


@pytest.mark.parametrize(
    ("ops", "classes", "parameters", "macs"),
    [(CIFAR10, 10, 3.3308e6, 516.3e6), (CIFAR100, 100, 4.0672e6, 614.1e6)],
)
def test_the_published_networks_have_their_size(ops, classes, parameters, macs):
    """20 cells of width 36 without auxiliary head; to the digits that are known."""
    space = lk.spaces.cells("cifar-deep", classes)
    found = complexity.count(lk.derive(space, space.architecture(ops.split())))
    assert found.parameters == pytest.approx(parameters, abs=50) and found.macs == pytest.approx(macs, abs=5e4)


def test_a_chains_digest_is_what_it_was():
    assert lk.spaces.five_layer().digest == "f5cd6ccc589e" and lk.spaces.mobile().digest == "86f80d1bbf82"
    assert lk.spaces.cells("tiny").digest != lk.spaces.cells("tiny", 7).digest


def test_what_is_no_cell_is_refused(cells):
    with pytest.raises(lk.InputError, match="sizes tiny, cifar, cifar-deep; got 'huge'"):
        lk.spaces.cells("huge")
    with pytest.raises(lk.InputError, match="either a slot, or a fixed operation, or terms"):
        Edge(8, 8, slot=1, terms=(Term(2, 0, 0),))
    spoilt = [dataclasses.replace(e, terms=e.terms[:1]) if e.terms and i < 5 else e for i, e in enumerate(cells.edges)]
    with pytest.raises(lk.InputError, match="same number of terms"):
        dataclasses.replace(cells, edges=tuple(spoilt))
    spoilt = [dataclasses.replace(e, terms=(Term(0, 0, 0), Term(2, 0, 0))) if e.terms else e for e in cells.edges]
    with pytest.raises(lk.InputError, match=r"operations are .* got|edges use slots"):
        dataclasses.replace(cells, edges=tuple(spoilt))


# --- the network ------------------------------------------------------------------------------------------------


def test_a_node_is_the_sum_of_the_formula(cells, generator):
    """The first cell under relaxed weights, written out for each node, input and operation."""
    supernet, weights = lk.Supernet(cells).eval(), torch.rand(1, *cells.mask.shape, generator=generator)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    body, w = supernet.body, weights[0]
    states = [body[1](body[0](images)), body[2](body[0](images))]
    edge = 3
    for node in range(2):
        in_0, in_1, op_0, op_1 = w[4 * node : 4 * node + 4]
        total = 0.0
        for j in range(2 + node):
            for o in range(4):
                total = total + (in_0[j] * op_0[o] + in_1[j] * op_1[o]) * body[edge].ops[o](states[j])
            edge += 1
        states.append(total)
    seen = []
    body[edge].register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    supernet(images, weights)
    torch.testing.assert_close(seen[0], torch.cat(states[2:], 1))


def test_the_same_twice_counts_twice(cells):
    supernet, images = lk.Supernet(cells).eval(), torch.randn(3, 3, 32, 32)
    once = "s0 s1 sep3x3 dil3x3 s0 n0 sep3x3 dil3x3 " * 2
    twice = once.replace("s0 s1 sep3x3 dil3x3", "s0 s0 sep3x3 sep3x3", 1)
    for ops in (once, twice):
        architecture = cells.architecture(ops.split())
        with torch.no_grad():
            there = supernet(images, cells.encode(architecture)[None])
            assert torch.equal(lk.derive(supernet, architecture).eval()(images), there)
    edge = lk.derive(cells, architecture).body[3]
    assert edge.often == {"sep3x3": 2} and edge(torch.ones(1, 8, 32, 32)).shape == (1, 8, 32, 32)


def test_batch_norm_learns_a_scale_only_in_the_chosen_network(cells):
    norms = [m for m in lk.Supernet(cells).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 20 and not any(p.requires_grad for norm in norms for p in norm.parameters())
    network = lk.derive(lk.Supernet(cells), cells[7])
    assert all(p.requires_grad for p in network.parameters())


# --- searching --------------------------------------------------------------------------------------------------


def test_the_tasks_cost_has_the_gradient_of_plain_autograd(cells, batches):
    supernet, ((xt, yt), (xv, yv)) = lk.Supernet(cells).double(), batches
    parameters = [p for p in supernet.parameters() if p.requires_grad]
    weights = torch.rand(1, *cells.mask.shape, dtype=torch.float64).softmax(-1).requires_grad_()
    task = TaskCost(supernet, parameters, *batches, SearchConfig())
    (gradient,) = torch.autograd.grad(task(weights).sum(), weights)
    supernet.train()
    with frozen_statistics(supernet):
        train, valid = F.cross_entropy(supernet(xt, weights), yt), F.cross_entropy(supernet(xv, weights), yv)
    expected = torch.autograd.grad(generalisation_loss(train, valid, 0.5), weights, retain_graph=True)[0]
    torch.testing.assert_close(gradient, expected)
    for ours, theirs in zip(task.weight_gradients, torch.autograd.grad(train, parameters), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_each_alone_is_judged_as_in_the_tree_of_shared_beginnings(space, data):
    supernet = lk.oneshot.searching.train_shared(lk.Supernet(space), data, dataclasses.replace(TINY, mixture_steps=8))
    some = space.sample(5, torch.Generator().manual_seed(1))
    for fresh in (True, False):
        parts = (supernet, some, data.train[:64], data.valid[:200])
        assert _errors_one_by_one(*parts, fresh=fresh) == pytest.approx(_errors(*parts, fresh=fresh), abs=1 / 200)


def test_a_search_and_its_second_half_from_a_checkpoint(cells, data, timings, tmp_path):
    short = {"mixture_steps": 1, "weight_steps": 1, "batch_size": 8}
    config = dataclasses.replace(TINY, **short, joint_steps=2, latency_weight=0.01)
    whole = lk.search(lk.Supernet(cells), data, timings, config)
    lk.search(lk.Supernet(cells), data, timings, config, checkpoints=Checkpoints(tmp_path, every=3))
    again = lk.search(lk.Supernet(cells), data, timings, config, checkpoints=Checkpoints(tmp_path, every=3))
    assert torch.equal(again.logits, whole.logits) and again.point == whole.point
    assert whole.point.latency_ms == pytest.approx(timings.table_ms(whole.architecture))
    published = SearchConfig.published("cifar", batch_size=4, architectures=4, weight_steps=1, joint_steps=1)
    found = lk.search(lk.Supernet(cells), data, timings, dataclasses.replace(published, evaluation_images=100))
    assert found.logits.isfinite().all() and found.logits.abs().max() > 0


# --- the same operation twice -----------------------------------------------------------------------------------


def test_duplicates_are_counted(cells):
    count = lambda ops: duplicates(cells, cells.encode(cells.architecture(ops.split()))[None]).item()
    other = " s0 n0 sep3x3 dil3x3 " + "s0 s1 sep3x3 dil3x3 s0 n0 sep3x3 dil3x3"
    assert count("s0 s0 sep3x3 sep3x3" + other) == 1
    assert count("s0 s0 sep3x3 dil3x3" + other) == 0, "one input by two operations is allowed"
    assert count("s0 s1 sep3x3 sep3x3" + other) == 0
    assert count("s1 s1 dil3x3 dil3x3 n0 n0 identity identity " * 2) == 4
    assert duplicates(lk.spaces.five_layer(), torch.rand(3, 5, 3)).tolist() == [0, 0, 0]


def test_the_mean_number_of_duplicates_is_that_of_every_architecture(cells, generator):
    """All choices of one node, each with its probability."""
    probs = torch.rand(cells.mask.shape, generator=generator, dtype=torch.float64).masked_fill(~cells.mask, 0)
    probs = probs / probs.sum(-1, keepdim=True)
    expected = 0.0
    for first in range(0, 16, 4):
        for picks in itertools.product(*(range(len(cells.slots[first + i])) for i in range(4))):
            in_0, in_1, op_0, op_1 = picks
            chance = torch.stack([probs[first + i, k] for i, k in enumerate(picks)]).prod().item()
            expected += chance * (in_0 == in_1 and op_0 == op_1)
    assert duplicates(cells, probs[None]).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("weight", "falls"), [(0.2, True), (0.0, False)])
def test_the_penalty_makes_duplicates_less_likely(cells, make_table, timings, weight, falls):
    controller = Controller(cells, SearchConfig(duplicate_weight=weight, logit_lr=0.1), 30)
    with torch.no_grad():  # away from uniform, where no input or operation is nearer to its twin than another
        controller.dist.logits += torch.rand(cells.mask.shape, generator=torch.Generator().manual_seed(0))
    number = lambda: duplicates(cells, controller.dist.probs()[None]).item()
    before = number()
    for _ in range(30):
        controller.move(torch.zeros(cells.mask.shape), timings, None, torch.Generator())
    assert (number() < 0.3 * before) is falls
    with pytest.raises(lk.InputError, match="what a duplicate costs"):
        SearchConfig(duplicate_weight=-1)


# --- milliseconds -----------------------------------------------------------------------------------------------


def test_the_table_adds_up_what_each_edge_runs(cells, timings, generator):
    """Against the parts, found by walking the derived networks."""
    some = cells.sample(5, generator)
    batch = torch.stack([cells.encode(a) for a in some]).double()
    for architecture, ms in zip(some, timings(batch).tolist()):
        expected = timings.overhead_ms
        for edge, timed in zip((cells.edges[i] for i in cells.chosen_edges), timings.edges):
            for name, times in cells.chosen(edge, architecture).items():
                expected += times * timings._ms(dict(timed.ops)[name])
        assert ms == pytest.approx(expected, rel=1e-9) == pytest.approx(timings.table_ms(architecture), rel=1e-9)


def test_the_table_is_its_own_mean(cells, timings, generator):
    probs = torch.rand(cells.mask.shape, generator=generator, dtype=torch.float64).masked_fill(~cells.mask, 0)
    probs = probs / probs.sum(-1, keepdim=True)
    expected, base = timings.overhead_ms, list(cells[0].ops)
    for first in range(0, 16, 4):
        for gate, ops in ((first, first + 2), (first + 1, first + 3)):
            for j, o in itertools.product(range(len(cells.slots[gate])), range(4)):
                chosen = base.copy()
                chosen[gate], chosen[ops] = cells.slots[gate][j], cells.slots[ops][o]
                chance = (probs[gate, j] * probs[ops, o]).item()
                expected += chance * timings.parts_ms(cells.architecture(chosen))[ops]
    assert timings(probs[None]).item() == pytest.approx(expected, rel=1e-9)


def test_the_range_is_reached_and_the_file_keeps_it(cells, timings, tmp_path):
    low, high = timings.range_ms()
    fastest, slowest = list(cells[0].ops), list(cells[0].ops)
    for first in range(0, 16, 4):
        for gate, ops in ((first, first + 2), (first + 1, first + 3)):
            of = {}
            for j, o in itertools.product(cells.slots[gate], cells.slots[ops]):
                chosen = list(cells[0].ops)
                chosen[gate], chosen[ops] = j, o
                of[j, o] = timings.parts_ms(cells.architecture(chosen))[ops]
            fastest[gate], fastest[ops] = min(of, key=of.get)
            slowest[gate], slowest[ops] = max(of, key=of.get)
    assert timings.table_ms(cells.architecture(fastest)) == pytest.approx(low)
    assert timings.table_ms(cells.architecture(slowest)) == pytest.approx(high)
    again = lk.LatencyTable.load(timings.save(tmp_path / "table.json"))
    again.check(cells)
    assert again.edges == timings.edges and again.range_ms() == timings.range_ms()
    assert "edges" not in json.loads(json.dumps(lk.LatencyTable.load("five_layer-torch-b1").to_json()))


def test_the_picture_of_a_table_has_every_edge(timings):
    ax = lk.plots.latency_table(timings)
    assert len(ax.texts) == 4 * len(timings.edges)
    assert ax.get_xticklabels()[0].get_text() == "edge 1"


def test_a_slot_of_cells_is_not_called_a_layer(cells, space, timings):
    assert cells.slot_names[:2] == timings.slot_names[:2] == ("slot 1", "slot 2")
    assert lk.plots.layer_latency(timings, {"a": cells[0]}).get_xticklabels()[15].get_text() == "slot 16"
    layers = lk.LatencyTable.load("five_layer-torch-b1").slot_names
    assert space.slot_names == layers and layers[4] == "layer 5"


def test_a_strip_takes_more_names_than_there_are_tints():
    many = lk.spaces.cells("cifar")
    last = many[many.size - 1]  # the last candidate of every slot
    assert [box.get_text() for box in lk.plots.strip({"a": last}, many).texts] == list(last.ops)
