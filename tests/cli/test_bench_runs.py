"""The networks of saved runs, as their benches take them."""

import pytest
import torch

import labkit as lk
from labkit.cli.bench_runs import DeployRun, EnginesOfRuns
from labkit.runs import run as runs

ONE = lk.TrainConfig(epochs=1, batch_size=64, seed=5)


@pytest.fixture(scope="module")
def folder(space, table, tmp_path_factory):
    images = lk.data.digits(seed=0)
    config = lk.SearchConfig(mixture_steps=1, weight_steps=1, joint_steps=1, batch_size=16, seed=5)
    result = lk.search(lk.Supernet(space), images, table, config)
    return runs.save(result, tmp_path_factory.mktemp("run"), images, table)


def test_the_network_of_a_race_is_the_one_that_export_trained(folder):
    run = runs.load(folder)
    trained, accuracy = runs.train_chosen(run, run.image_set(), ONE)
    bench = DeployRun(run_folder=str(folder))
    network, images = bench.network()
    assert images.digest == run.data.digest and network.architecture == run.result.architecture
    for name, value in trained.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    about = bench.about()
    assert about["test_accuracy"] == accuracy and about["data"]["digest"] == run.data.digest


def test_engines_are_of_the_chosen_networks_with_the_shared_weights(folder):
    run = runs.load(folder)
    ((network, images),) = EnginesOfRuns(runs=(str(folder),)).networks()
    expected = lk.derive(run.result.supernet, run.result.architecture)
    assert len(images) == run.data.train
    for name, value in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    others = EnginesOfRuns().networks()
    assert others and all(len(pair) == 2 for pair in others), "random networks without runs"
