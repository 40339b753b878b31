import copy
import math
import subprocess
import sys
import warnings
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.deploy import compiling, export
from labkit.deploy.export import RuntimeRow
from labkit.deploy.precisions import TOLERANCE, TOLERANCES
from labkit.networks.supernet import seeded
from labkit.runtimes import cuda_graphs
from labkit.runtimes.base import Preparation
from labkit.runtimes.cuda_graphs import graph_run
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import quantised
from labkit.runtimes.registry import prepare, runtime, runtimes
from labkit.runtimes.torch_runtimes import AheadOfTime, Compiled, CudaGraph
from labkit.system.device import ieee_float32

SHORT = lk.TimingConditions(seconds=0.02)
HEAVY = ("onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")


@pytest.fixture(scope="module")
def network():
    """A mobile network whose batch norms are not the identity."""
    space = lk.spaces.mobile()
    network = lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0])
    with torch.no_grad(), seeded(0):
        for _ in range(4):
            network.train()(2 * torch.randn(16, 3, 32, 32) + 1)
    return network.eval()


@pytest.fixture(scope="module")
def onnx_file(network, tmp_path_factory):
    return export.to_onnx(network, tmp_path_factory.mktemp("onnx") / "network.onnx")


def test_the_file_computes_what_torch_computes_at_any_batch(network, onnx_file, data):
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5, 17):
        x = standardise(data.test.pixels[:batch])
        with torch.no_grad():
            expected = network(x).numpy()
        np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_the_file_is_whole_and_names_no_path(onnx_file):
    onnx.checker.check_model(onnx.load(onnx_file), full_check=True)
    assert [path.name for path in onnx_file.parent.iterdir()] == ["network.onnx"], "weights lie inside"
    content = onnx_file.read_bytes()
    for trace in (b"site-packages", b"labkit/", b".py", b"torch.nn"):
        assert trace not in content


class Means(torch.nn.Module):
    """Means over a whole map, which pooling is, and others, which it is not."""

    def forward(self, x):
        whole = x.mean((2, 3), keepdim=True).flatten(1) + torch.nn.functional.adaptive_avg_pool2d(2 * x, 1).flatten(1)
        return whole + x.mean((-1, -2)) + x.mean((1, 3)).mean(-1, keepdim=True) + x.mean(1, keepdim=True).amax((2, 3))


def test_the_mean_over_a_whole_map_is_a_pooling_and_no_other_mean_is():
    x = torch.randn(5, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    content = onnx_bytes(Means(), x)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"]
    assert {tuple(node.attribute[0].ints) for node in pools} == {(6, 8)} and len(pools) == 2
    assert len([node for node in model.graph.node if node.op_type == "ReduceMean"]) == 4
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in (x, x[:1]):
        (found,) = session.run(None, {"images": images.numpy()})
        assert torch.allclose(torch.from_numpy(found), Means()(images), atol=1e-6)


def test_equal_networks_give_equal_bytes(space):
    network = lk.derive(space, next(iter(space)))
    for exporter in ("torchscript", "dynamo"):
        first, again = (onnx_bytes(network, torch.zeros(2, 3, 32, 32), exporter=exporter) for _ in range(2))
        assert first == again


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "onnxruntime", "openvino"])
def test_runtimes_agree_and_leave_the_network_alone(network, data, name):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = standardise(data.test.pixels[:4])
    run = prepare(network, name, x, Preparation(exporter="torchscript"))
    assert export.parity(network, run, data.test) < TOLERANCE
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("name", ["torch-compile", "torch-aot"])
def test_a_compiled_network_agrees(data, name):
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    x = standardise(data.test.pixels[:4])
    run = prepare(network, name, x[:1])
    for batch in (x[:1], x):
        with torch.no_grad():
            np.testing.assert_allclose(run(batch), network(batch), rtol=1e-4, atol=1e-5)


def test_half_precision_is_the_nets_own_and_logits_leave_in_float32(network, data):
    x = standardise(data.test.pixels[:4])
    run = prepare(network, "torch", x, Preparation("bfloat16"))
    with torch.no_grad():
        error = ((run(x) - network(x)).abs().max() / network(x).abs().max()).item()
    assert run(x).dtype == torch.float32 and 1e-5 < error < 3e-2
    with pytest.raises(lk.InputError, match="onnxruntime takes float32, float16, int8; got 'bfloat16'"):
        prepare(network, "onnxruntime", x, Preparation("bfloat16"))


def test_a_compiler_that_ends_its_process_costs_a_row(network, data, monkeypatch):
    lost = lambda: export._lost(network, "torch-aot", "fp32", standardise(data.test.pixels[:5]))

    def fails(*_):
        raise RuntimeError("no ptxas\nand more")

    monkeypatch.setattr(export.processes, "runs_in_subprocess", lambda *_: True)
    assert lost() is None
    monkeypatch.setattr(export.processes, "runs_in_subprocess", lambda *_: False)
    assert "ended a process of its own" in lost() and "another C++ compiler in CXX" in lost()
    monkeypatch.setattr(export.processes, "runs_in_subprocess", fails)
    assert lost() == "compiling it failed: RuntimeError no ptxas"


def test_compilers_are_tried_once_for_a_network(network, data, monkeypatch):
    asked, x = [], standardise(data.test.pixels[:5])
    monkeypatch.setattr(export, "_TRIED", WeakKeyDictionary())  # what is made up here is of no other test
    monkeypatch.setattr(Compiled, "reason", None)
    monkeypatch.setattr(AheadOfTime, "reason", None)
    monkeypatch.setattr(export, "_lost", lambda _, *pair: asked.append(pair[:2]) or ("bad" if "fp16" in pair else None))
    wanted = [(name, p) for name in ("torch", "torch-compile", "torch-aot") for p in ("fp32", "fp16")]
    for _ in range(2):
        assert export._lost_on_gpu(network, wanted, x) == {pair: "bad" if pair[1] == "fp16" else None for pair in asked}
    assert sorted(asked) == sorted(wanted[2:])


def test_what_only_a_gpu_has_says_so_without_one(network, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(lk.InputError, match="CUDA graph needs an NVIDIA GPU"):
        prepare(network, "torch-cuda-graph", torch.zeros(1))
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "install g++ or clang++" in runtime("torch-compile").reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(lk.InputError, match=r"runs on cuda; got 'cpu', for which: torch, torch-channels-last, .*onnx"):
        prepare(network, "torch-cuda-graph", torch.zeros(1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "torch-compile", "torch-aot", "torch-cuda-graph"])
def test_runtimes_agree_on_a_gpu(network, data, name):
    x = standardise(data.test.pixels[:8]).cuda()
    with torch.no_grad():
        expected = network(x.cpu())
    with ieee_float32():
        run = prepare(network, name, x)
        found = torch.cat([run(x[:4]), run(x[4:])]).cpu()
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    half = prepare(network, name, x, Preparation("float16"))
    assert (half(x).cpu() - expected).abs().max() <= 1e-2 * expected.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_with_its_card(network):
    on_gpu = lk.TimingConditions(device="cuda", seconds=0.05)
    eager, graph, host = (
        lk.measure([network], replace(on_gpu, runtime=name, transfers=transfers))[0]
        for name, transfers in (("torch", False), ("torch-cuda-graph", False), ("torch", True))
    )
    assert eager.card.statistic == "median" and eager.card.capability and "SM" in eager.card.observed
    assert 0 < graph.measured_ms < eager.measured_ms < 100 and host.card.transfers
    with pytest.raises(lk.InputError, match="transfers"):
        host.speedup_over(eager)


def test_a_runtime_of_another_device_is_a_row_that_says_so(network, data, monkeypatch):
    monkeypatch.setattr(CudaGraph, "reason", None)
    eager, elsewhere = export.benchmark(network, data.test, SHORT, runtimes=("torch", "torch-cuda-graph"))
    assert eager.measurement and not elsewhere.available and elsewhere.reason == "runs on cuda, not on cpu"


def test_parity_leaves_the_network_as_it_is(network, data):
    ours = copy.deepcopy(network).train()
    ours.head.eval()
    modes = [module.training for module in ours.modules()]
    assert export.parity(ours, prepare(network, "torch", torch.zeros(1, 3, 32, 32)), data.test) <= TOLERANCE
    assert [module.training for module in ours.modules()] == modes


def test_auto_knows_no_runtime_of_other_devices():
    with pytest.raises(lk.InputError, match="knows the runtimes of cpu and cuda; got 'mps': name a runtime"):
        compiling.first_usable("float32", "mps")


def test_parity_sees_a_difference_and_a_nan(network, data):
    assert export.parity(network, lambda x: network(x) * 1.01, data.test) > 50 * TOLERANCE
    assert export.parity(network, lambda x: network(x) * math.nan, data.test) == math.inf
    assert export.parity(network, lambda x: network(x) + (len(x) == 5), data.test) > 50 * TOLERANCE, "one size"


def test_benchmark_rows(network, data):
    rows = export.benchmark(network, data.test, lk.TimingConditions(seconds=0.05))
    assert [row.name for row in rows] == ["torch", "torch-channels-last", "onnxruntime", "tensorrt"]
    for row in rows:
        value = row.to_json()
        needed = {"name", "available", "reason", "parity_error", "best_ms", "median_ms", "speedup", "card"}
        assert needed <= set(value)
        if row.available:
            assert row.parity_error <= TOLERANCE and 0 < value["best_ms"] <= value["median_ms"]
            assert value["speedup"] == pytest.approx(rows[0].measurement.measured_ms / row.measurement.measured_ms)
    assert rows[0].speedup == 1


def test_benchmark_rows_of_several_precisions(network, data):
    rows = export.benchmark(
        network, data.test, SHORT, runtimes=("torch", "onnxruntime"), precisions=("fp32", "int8"),
        preparation=Preparation(calibration=data.train),
    )  # fmt: skip
    assert [row.label for row in rows] == ["torch", "torch int8", "onnxruntime", "onnxruntime int8"]
    assert rows[1].reason == "the runtime torch takes float32, float16, bfloat16; got 'int8'"
    assert rows[3].measurement.card.dtype == "int8" and rows[3].parity_error > rows[2].parity_error
    assert rows[2].computes_the_same and not replace(rows[2], parity_error=math.nan).computes_the_same
    assert not replace(rows[2], parity_error=2e-4).computes_the_same
    assert replace(rows[3], parity_error=2e-4, accuracy_drop=0.01).computes_the_same
    assert [row.accuracy_drop is None for row in rows] == [True, True, True, False]
    with pytest.raises(lk.InputError, match="precisions are fp32, fp16, bf16, int8, fp8; got 'half'"):
        export.benchmark(network, data.test, precisions=("half",))


def test_eight_bits_may_lose_a_point_of_accuracy(data):
    """Counted on the same images: 7 of 500 lost and 2 won are 5 lost."""
    right = torch.nn.functional.one_hot(data.test.labels, len(data.classes)).float()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, len(data.classes))).train()

    def answers(wrong):
        logits = right.clone()
        logits[list(wrong)] = right[list(wrong)].roll(1, -1)
        batches = iter(logits.split(64))
        return lambda x: next(batches)

    network.forward = answers(range(2))
    assert export.accuracy_drop(network, answers(range(2, 9)), data.test) == 0.01 and network.training
    row = RuntimeRow("onnxruntime", True, None, 1e-3, None, None, "int8")
    for drop, passes in ((None, True), (-0.02, True), (0.01, True), (0.012, False), (math.nan, False)):
        assert replace(row, accuracy_drop=drop).computes_the_same is passes
    timed = lk.Measurement(
        lk.Timing(1.0, 1.0, 0.1, 10), lk.latency.card_of(lk.TimingConditions(runtime="onnxruntime"), (3, 32, 32))
    )
    row = replace(row, accuracy_drop=0.012, measurement=timed, speedup=2.0)
    assert str(row).endswith("parity 1e-03, accuracy -1.2 points")
    assert RuntimeRow.from_json(row.to_json()).accuracy_drop == 0.012


def test_tensorrt_says_what_is_missing_and_how_to_get_it():
    entry = runtime("tensorrt")
    assert not entry.available
    if not torch.cuda.is_available():
        assert "NVIDIA GPU" in entry.reason
    if entry.version is None:
        assert "pip install labkit[tensorrt]" in entry.reason
    with pytest.raises(lk.InputError, match="the runtime tensorrt cannot be used here: tensorrt needs"):
        prepare(torch.nn.Identity(), "tensorrt", torch.zeros(1))


def test_a_missing_onnxruntime_is_a_row_with_the_remedy(network, data, monkeypatch):
    monkeypatch.setattr("labkit.runtimes.onnx_runtimes.version_of", lambda package: None)
    rows = export.benchmark(network, data.test, SHORT, runtimes=("torch", "onnxruntime"))
    assert not rows[1].available and "pip install onnxruntime" in rows[1].reason
    assert all(entry.name.startswith("torch") for entry in runtimes() if entry.available)


@pytest.fixture
def unloadable(monkeypatch, tmp_path):
    """An ONNX Runtime that is installed and does not load, as after an upgrade that was cut short."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('libstdc++ is too old\\nand more')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_runtime_that_does_not_load_costs_its_row(network, data, unloadable, monkeypatch):
    monkeypatch.setattr(compiling, "_WARNED", set())
    assert runtime("onnxruntime").available, "it is looked up, not imported"
    x = standardise(data.test.pixels[:2])
    says = r"onnxruntime is installed and does not load \(libstdc.* is too old\): pip install --force-reinstall"
    with pytest.raises(lk.InputError, match=says):
        compiling.compile(network, "onnxruntime", example=x)
    with pytest.warns(UserWarning, match=f"taking (openvino|torch-channels-last): .*{says}"):
        run = compiling.compile(network, example=x)
    with torch.no_grad():
        torch.testing.assert_close(run(x), network(x), rtol=1e-3, atol=1e-3)
    eager, lost = export.benchmark(network, data.test, SHORT, runtimes=("onnxruntime",))
    assert eager.measurement and not lost.available and "does not load" in lost.reason


def test_what_cannot_be_prepared_costs_its_row(network, data):
    rows = export.benchmark(
        network, data.test, SHORT, runtimes=("onnxruntime",), precisions=("fp32", "int8"),
        preparation=Preparation(calibration=data.train[:5]),
    )  # fmt: skip
    assert [row.available for row in rows] == [True, True, False]
    assert rows[2].reason == "ranges are calibrated on at least 32 real images; got 5"


def test_a_slow_down_is_never_printed_as_a_speed_up(network, data):
    assert export.speedup_text(2.0) == "2.0x faster" and export.speedup_text(0.5) == "2.0x slower"
    row = export.benchmark(network, data.test, SHORT, runtimes=("torch",))[0]
    assert "slower" in str(replace(row, name="other", speedup=0.4))


def test_impossible_batches_and_unknown_runtimes_are_refused(network, data):
    with pytest.raises(lk.InputError, match=r"a batch of 1 to 500 images \(all there are\) can be timed; got 100000"):
        export.benchmark(network, data.test, lk.TimingConditions(batch_size=100_000))
    with pytest.raises(lk.InputError, match="runtimes are torch"):
        export.benchmark(network, data.test, runtimes=("magic",))


# ---- precision ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["five_layer", "mobile-tiny"])
def trained(request):
    """A network that has learned its task, and the images: eight bits are judged by what they lose."""
    data = lk.data.glyphs(2_500, 100, 1_000, seed=0)
    space = lk.spaces.by_name(request.param)
    network = lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0])
    lk.train(network, data, lk.TrainConfig(epochs=6, batch_size=32), validate="at the end")
    assert lk.error(network, data.test) < 0.2, "logits of a network that guesses are small, and any noise is large"
    return network.eval(), data


@pytest.mark.parametrize(
    ("name", "precision"),
    [("onnxruntime", "fp16"), ("onnxruntime", "int8"), ("openvino", "bf16"), ("openvino", "int8"), ("torch", "bf16")],
)
def test_fewer_bits_stay_near_and_lose_less_than_a_point(trained, name, precision):
    network, data = trained
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    x = standardise(data.test.pixels)
    run = compiling.compile(network, name, precision, example=x[:2], calibration=data.train)
    assert 0 < export.parity(network, run, data.test) <= TOLERANCES[precision], "near, and not the same"
    right = lambda logits: (logits.argmax(-1) == data.test.labels).float().mean().item()
    with torch.no_grad():
        assert right(run(x)) >= right(network(x)) - 0.01


def test_eight_bits_need_real_images(network, data):
    x = standardise(data.test.pixels[:2])
    with pytest.raises(lk.InputError, match="takes its ranges from real images: pass calibration="):
        compiling.compile(network, "onnxruntime", "int8", example=x)
    with pytest.raises(lk.InputError, match="at least 32 real images; got 5"):
        compiling.compile(network, "onnxruntime", "int8", example=x, calibration=data.train[:5])
    with pytest.raises(lk.InputError, match=r"recipes are u8s8, s8s8, fp8; got 'u4'"):
        quantised(b"", x, "u4")


def test_a_precision_that_the_model_cannot_have_is_refused(network, data):
    """Rather than handed on in float32 under another name."""
    x = standardise(data.train.pixels[:2])
    for name in ("tensorrt-rtx", "tensorrt-cuda-graph", "onnxruntime"):
        with pytest.raises(lk.InputError, match=f"{name} takes float32, float16, int8.*; got 'bfloat16'"):
            runtime(name).model(network, x, Preparation("bfloat16"))
    assert runtime("openvino").model(network, x, Preparation("bfloat16", onnx_model=b"as it is")) == b"as it is"


def test_the_model_is_quantised_as_its_runtime_wants_it(network, data):
    x = standardise(data.train.pixels[:64])
    model = onnx_bytes(network, x[:2], exporter="torchscript")
    kinds = {}
    for recipe in ("u8s8", "s8s8", "fp8"):
        made = onnx.load_from_string(quantised(model, x, recipe))
        onnx.checker.check_model(made)
        kinds[recipe] = {part.data_type for part in made.graph.initializer if "zero_point" in part.name}
    types = onnx.TensorProto
    assert kinds["u8s8"] == {types.UINT8, types.INT8, types.INT32}, "activations, weights, biases"
    for name in ("onnxruntime", "openvino"):
        how = Preparation("int8", onnx_model=model, calibration=data.train[:64])
        made = onnx.load_from_string(runtime(name).model(network, x[:2], how))
        assert {part.data_type for part in made.graph.initializer if "zero_point" in part.name} == kinds["u8s8"]
    assert kinds["s8s8"] == {types.INT8} and kinds["fp8"] == {types.FLOAT8E4M3FN}


def test_weights_for_a_cpu_keep_to_seven_bits(network, data):
    """Sixteen bits hold two products of eight bits and seven, so no processor saturates; two of eight do not fit."""
    x = standardise(data.train.pixels[:64])
    plain = onnx_bytes(network, x[:2], exporter="torchscript")

    def largest(model):
        parts = onnx.load_from_string(model).graph.initializer
        arrays = [onnx.numpy_helper.to_array(p) for p in parts if p.data_type == onnx.TensorProto.INT8]
        return max(int(abs(array.astype(int)).max()) for array in arrays)

    made = runtime("onnxruntime").model(
        network, x[:2], Preparation("int8", onnx_model=plain, calibration=data.train[:64])
    )
    assert largest(made) <= 64 < largest(quantised(plain, x, "u8s8"))
    assert 2 * 255 * 64 < 2**15 <= 2 * 255 * 127


def test_auto_takes_what_is_here_and_says_once_what_is_not(network, data, monkeypatch):
    monkeypatch.setattr(compiling, "_WARNED", set())
    x = standardise(data.test.pixels[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = compiling.compile(network, example=x)  # ONNX Runtime is always here
    assert export.parity(network, run, data.test) < TOLERANCE
    with pytest.warns(
        UserWarning, match="taking .*: the runtime onnxruntime takes float32, float16, int8; got 'bfloat16'"
    ):
        compiling.compile(network, precision="bf16", example=x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiling.compile(network, precision="bf16", example=x)
    with pytest.raises(lk.InputError, match="no runtime here takes float8 on cpu"):
        compiling.compile(network, precision="fp8", example=x)
    with pytest.raises(lk.InputError, match="precisions are fp32, fp16, bf16, int8, fp8; got 'fp4'"):
        compiling.compile(network, precision="fp4", example=x)
    with pytest.raises(lk.InputError, match="the runtime torch takes float32, float16, bfloat16; got 'int8'"):
        compiling.compile(network, "torch", "int8", example=x)


def test_a_network_of_labkit_needs_no_example(network, data):
    run = compiling.compile(network, "torch-channels-last")
    assert export.parity(network, run, data.test) < TOLERANCE
    with pytest.raises(lk.InputError, match=r"needs example=, images \(B, C, H, W\)"):
        compiling.compile(torch.nn.Flatten(), "torch")


def test_a_cuda_graph_holds_its_work_several_times_over(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "Recording", lambda function, values: lambda images: function(images))
    calls = []
    run = graph_run(lambda x: calls.append(1) or x.half(), torch.Tensor.float, 3)
    assert run(torch.ones(2)).dtype == torch.float32 and len(calls) == 3


def test_runtimes_are_looked_up_and_not_imported():
    code = "import sys; from labkit.runtimes.registry import runtimes; print(len(runtimes()), sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name for name in HEAVY if f"'{name}'" in done.stdout}, done.stdout


def test_weights_that_are_no_numbers_are_not_exported(space):
    network = lk.derive(space, next(iter(space)))
    with torch.no_grad():
        network.head[1].weight[0, 0] = math.nan
    with pytest.raises(lk.InputError, match=r"head\.1\.weight of the network is not finite"):
        onnx_bytes(network, torch.zeros(2, 3, 32, 32))


class Eigenvalues(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x[:, 0]).real


class Branch(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


@pytest.mark.parametrize(("network", "why"), [(Eigenvalues(), "linalg_eig"), (Branch(), "data-dependent expression")])
def test_what_has_no_onnx_form_is_said_in_one_line(network, why):
    with pytest.raises(lk.InputError, match=f"this network has no ONNX form .*{why}.*: replace what has none") as found:
        onnx_bytes(network, torch.randn(2, 3, 8, 8))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("damaged", [b"hello", b""])
def test_what_is_no_onnx_model_is_refused_in_one_line(damaged, data):
    x = standardise(data.train.pixels[:32])
    for name in ("onnxruntime", "openvino"):
        if runtime(name).available:
            with pytest.raises(lk.InputError, match=f"{name} refuses this ONNX model .*: export .* again") as found:
                prepare(torch.nn.Identity(), name, x[:1], Preparation(onnx_model=damaged or b" "))
            assert "\n" not in str(found.value)
    with pytest.raises(lk.InputError, match=r"this ONNX model cannot be quantised .*: export the network again"):
        quantised(damaged, x, "u8s8")


def test_a_network_left_in_train_mode_is_exported_in_eval_mode(data):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(3 * 32 * 32, 4)).train()
    x = standardise(data.test.pixels[:4])
    run = compiling.compile(network, "onnxruntime", example=x)
    assert network.training
    with torch.no_grad():
        torch.testing.assert_close(run(x), network.eval()(x), rtol=1e-4, atol=1e-5)
