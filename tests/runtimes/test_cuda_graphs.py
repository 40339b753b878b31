"""What is recorded once must serve every later call: shown here by a recorder that runs its first function for ever."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.run import SearchRun
from labkit.oneshot.task_cost import TaskCost
from labkit.runtimes import cuda_graphs
from labkit.runtimes.cuda_graphs import eager, graph_run

TINY = SearchConfig(mixture_steps=3, weight_steps=3, joint_steps=5, batch_size=16, latency_weight=0.2)


class Echo:
    """A `Recorder` for the CPU: first function, one place for arguments, one for results, as a CUDA graph has them."""

    def __init__(self):
        self.recordings, self.calls = {}, 0

    def __call__(self, name, function, *values, changes=tuple):
        self.calls += 1
        key = (name, *((value.shape, value.dtype) for value in values))
        if key not in self.recordings:
            changed = list(changes())
            before = [tensor.detach().clone() for tensor in changed]
            held = [value.detach().clone() for value in values]
            example = function(*held)
            with torch.no_grad():
                for tensor, value in zip(changed, before):
                    tensor.copy_(value)
            self.recordings[key] = function, held, example
        function, held, results = self.recordings[key]
        with torch.no_grad():
            torch._foreach_copy_(held, list(values))
        found = function(*held)
        one = isinstance(found, torch.Tensor)
        with torch.no_grad():
            torch._foreach_copy_([results] if one else list(results), [found] if one else list(found))
        return results


def recorded(supernet, data, config, table=None, steps=None, **others):
    run = SearchRun(supernet, data, config, table, **others)
    run.launch = Echo()
    return run.advance(steps)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("mobile-tiny", {}),
        ("five_layer", {}),
        ("five_layer", {"gap": "paired", "architectures": 4}),
        ("five_layer", {"task_cost": "error"}),
        ("five_layer", {"estimator": "rebar", "gap_weight": 0.0}),
        ("five_layer", {"estimator": "reinforce"}),
        ("five_layer", {"weights_on": "distilled"}),
        ("five_layer", {"weights_on": "fair"}),
    ],
)
def test_a_search_from_recordings_is_the_search(name, changed, data, make_table):
    space = lk.spaces.by_name(name)
    supernet, config, table = lk.Supernet(space), replace(TINY, **changed), make_table(space)
    plain, other = SearchRun(supernet, data, config, table).advance(), recorded(supernet, data, config, table)
    assert plain.launch is eager and plain.history == other.history and plain.passes == other.passes
    theirs = other.checkpoint().tensors
    for tensor_name, tensor in plain.checkpoint().tensors.items():
        assert torch.equal(tensor, theirs[tensor_name]), tensor_name
    names = {key[0] for key in other.launch.recordings}
    assert ("learn", True) in names, "the mixture phase"
    if config.learns_on == "relaxed":
        assert {"relaxed", "update"} <= names and other.launch.calls > 4 * len(other.launch.recordings) / 3
    assert any(isinstance(one, torch.nn.Module) for one in names)


def test_a_function_that_looks_beside_its_arguments_is_seen(space, data, table, monkeypatch):
    """The control of the tests above: were the first step's images used for ever, the search would be another."""
    honest = TaskCost._gradients
    monkeypatch.setattr(TaskCost, "_gradients", lambda self, at, *_: honest(self, at, *self.train, *self.valid))
    supernet = lk.Supernet(space)
    plain, other = SearchRun(supernet, data, TINY, table).advance(), recorded(supernet, data, TINY, table)
    assert plain.history != other.history


def test_a_sweep_and_a_resumed_search_record_too(space, data, table):
    supernet, aims = lk.Supernet(space), [replace(TINY, latency_weight=weight) for weight in (0.0, 1.0)]
    plain = SearchRun(supernet, data, TINY, table, aims=aims).advance()
    begun = recorded(supernet, data, TINY, table, 8, aims=aims)
    again = SearchRun(supernet, data, TINY, table, aims=aims).restore(begun.checkpoint())
    again.launch = Echo()
    assert again.advance().history == plain.history


def test_a_cuda_graph_holds_its_work_several_times_over(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "Recording", lambda function, values: lambda images: function(images))
    calls = []
    run = graph_run(lambda x: calls.append(1) or x.half(), torch.Tensor.float, 3)
    assert run(torch.ones(2)).dtype == torch.float32 and len(calls) == 3
