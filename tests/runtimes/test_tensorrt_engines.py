"""Engines: really built by TensorRT-RTX, which needs no GPU for it; kept, found again, never used when damaged."""

import multiprocessing
import resource
import types
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

import labkit as lk
from labkit.benches import engines as engine_bench
from labkit.data import standardise
from labkit.runtimes import tensorrt_engines
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import quantised
from labkit.runtimes.tensorrt_engines import (
    Engine,
    EngineRun,
    Profile,
    Settings,
    build,
    cached,
    installed,
    ready,
    unavailable,
)

here = pytest.mark.skipif("tensorrt-rtx" not in installed(), reason="pip install labkit[rtx] builds real engines")


@pytest.fixture(scope="module", params=["five_layer", "mobile-tiny"])
def models(request, data):
    """precision -> ONNX model, of one network of each space."""
    space = lk.spaces.by_name(request.param)
    network = lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0])
    images = standardise(data.train.pixels[:64])
    with torch.no_grad():
        network.train()(images)
    full, half = (onnx_bytes(network, images[:2], dtype=dtype) for dtype in ("float32", "float16"))
    eight = {precision: quantised(full, images, precision) for precision in ("u8s8", "s8s8", "fp8")}
    return {"fp32": full, "fp16": half, **eight}


@pytest.fixture(scope="module")
def model(space):
    """The quickest to build."""
    return onnx_bytes(lk.derive(space, space[242]), torch.zeros(2, 3, 32, 32), exporter="torchscript")


@here
def test_engines_of_every_precision_are_built_without_a_gpu(models):
    engines = {precision: build(models[precision]) for precision in ("fp32", "fp16", "s8s8", "fp8")}
    for engine in engines.values():
        assert len(engine.plan) > 10_000 and engine.seconds > 0
        assert engine.version == installed()["tensorrt-rtx"]
    assert len({engine.plan for engine in engines.values()}) == 4
    layers = {precision: engine.layers for precision, engine in engines.items()}
    assert layers["fp16"] == layers["fp32"] + 2, "a cast at each end, and nothing else"
    assert layers["s8s8"] > layers["fp8"] > layers["fp32"], "the pairs that quantise are layers before fusion"


@here
def test_a_model_quantised_for_onnx_runtime_is_refused_with_the_remedy(models):
    with pytest.raises(lk.InputError, match=r"node 0, DequantizeLinear.* quantise it with the recipe 's8s8'"):
        build(models["u8s8"])


@here
def test_a_bench_says_what_is_built_and_what_is_refused(data, tmp_path):
    space = lk.spaces.five_layer()
    rows = engine_bench.builds(lk.derive(space, space[0]), data.train, models=("fp32", "u8s8", "s8s8"))
    assert [(row.model, row.refused is None) for row in rows] == [("fp32", True), ("u8s8", False), ("s8s8", True)]
    assert engine_bench.as_expected(rows) and not engine_bench.as_expected([replace(rows[0], refused="no")])
    assert not engine_bench.as_expected([replace(rows[1], refused=None)]), "it must be refused"
    assert "refused: TensorRT refuses node" in str(rows[1]) and "18 layers" not in str(rows[1])
    file = tmp_path / "engines.json"
    value = {"kind": engine_bench.KIND, "schema": engine_bench.SCHEMA, "made": {}}
    lk.system.storage.write_json(file, value | {"rows": engine_bench.to_json(rows)})
    assert engine_bench.load(file) == (rows, {})
    with pytest.raises(lk.InputError, match="models are fp32, fp16, u8s8, s8s8, fp8; got 'fp4'"):
        engine_bench.builds(lk.derive(space, space[0]), data.train, models=("fp4",))


def a_model(operator: str, domain: str) -> bytes:
    image = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3, 32, 32])
    node = onnx.helper.make_node(operator, ["images"], ["logits"], domain=domain)
    graph = onnx.helper.make_graph([node], "one node", [image("images")], [image("logits")])
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("mine", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString()


@here
def test_what_is_no_model_or_holds_an_unknown_operator_is_refused(model):
    for damaged in (b"", b"hello", model[: len(model) // 2]):
        with pytest.raises(lk.InputError, match="not an ONNX model, or one that was cut short"):
            build(damaged)
    build(a_model("Relu", ""))
    with pytest.raises(lk.InputError, match="node 0, Mystery, of this ONNX model: there is no such operator"):
        build(a_model("Mystery", "mine"))


def test_profiles_and_flavours_are_checked():
    for sizes in ((0, 1, 2), (2, 1, 4), (1, 8, 4)):
        with pytest.raises(lk.InputError, match="1 <= least <= best <= most; got"):
            Profile(*sizes)
    Profile(2, 4, 8).check(2), Profile(2, 4, 8).check(8)
    for batch in (1, 9):
        with pytest.raises(lk.InputError, match=f"takes batches of 2 to 8 images; got {batch}: build it with another"):
            Profile(2, 4, 8).check(batch)
    with pytest.raises(lk.InputError, match="TensorRT comes as tensorrt or tensorrt-rtx; got 'tensor'"):
        build(b"", flavour="tensor")


# ---- kept engines ------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """How often an engine has been built since."""
    calls, real = [], tensorrt_engines.build
    monkeypatch.setattr(tensorrt_engines, "build", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    return calls


@here
def test_an_engine_is_built_once_for_each_model_and_setting(model, models, counted, tmp_path):
    first = cached(model, Settings(), tmp_path)
    again = cached(model, Settings(), tmp_path)
    assert (again.plan, again.layers, again.version) == (first.plan, first.layers, first.version) and len(counted) == 1
    for other in (Settings(Profile(1, 8, 32)), Settings(tf32=True), Settings(optimisation_level=1)):
        cached(model, other, tmp_path)
    assert len(counted) == 4
    cached(models["fp32"], Settings(), tmp_path)
    assert len(counted) == 5


@here
@pytest.mark.parametrize("now", [{"version": "9.9"}, {"gpu": ["H200", "9.0", "580"]}])
def test_another_version_or_gpu_builds_again(model, counted, monkeypatch, tmp_path, now):
    cached(model, Settings(), tmp_path)
    before = tensorrt_engines._platform("tensorrt-rtx")
    monkeypatch.setattr(tensorrt_engines, "_platform", lambda flavour: {**before, **now})
    cached(model, Settings(), tmp_path)
    assert len(counted) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1_000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@here
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.with_suffix(".json").write_text("{")])
def test_a_damaged_engine_is_built_again(model, counted, tmp_path, damage):
    whole = cached(model, Settings(), tmp_path)
    damage(next(tmp_path.glob("*.engine")))
    assert len(cached(model, Settings(), tmp_path).plan) == len(whole.plan) and len(counted) == 2
    cached(model, Settings(), tmp_path)
    assert len(counted) == 2, "and is whole again"


@here
def test_a_full_disk_costs_the_kept_file_and_not_the_engine(model, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.warns(UserWarning, match="the engine could not be kept"):
            engine = cached(model, Settings(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(engine.plan) > 10_000 and not list(tmp_path.iterdir()), "nothing half-written is left"


def _build_in(folder: str, model: bytes) -> int:
    return len(cached(model, Settings(), folder).plan)


@here
def test_eight_processes_share_a_folder(model, tmp_path):
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        sizes = pool.starmap(_build_in, [(str(tmp_path), model)] * 8)
    assert set(sizes) == {len(cached(model, Settings(), tmp_path).plan)}
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".engine", ".json"]


# ---- running -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("flavour", tensorrt_engines.FLAVOURS)
def test_an_engine_never_meets_a_runtime_without_a_gpu(flavour, monkeypatch):
    """A runtime made without CUDA is null, and using it ends the process."""
    monkeypatch.setattr(tensorrt_engines, "module", lambda flavour: pytest.fail("asked for the module"))
    assert "an NVIDIA GPU that torch can use" in unavailable(flavour)
    with pytest.raises(lk.InputError, match=r"cannot run here: .*NVIDIA GPU"):
        EngineRun(Engine(b"", flavour, "1", Settings(), 1.0, 1))


def test_a_gpu_that_rtx_does_not_know_is_named(monkeypatch):
    monkeypatch.setattr(tensorrt_engines, "_capability", lambda: (9, 0))
    assert "compute capability 7.5, 8.0, 8.6, 8.9 or 12; here 9.0" in unavailable("tensorrt-rtx")
    monkeypatch.setattr(tensorrt_engines, "_capability", lambda: (8, 9))
    assert "NVIDIA GPU" not in (unavailable("tensorrt-rtx") or "")


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", tensorrt_engines.FLAVOURS)
def test_an_engine_computes_what_torch_computes(flavour, space, data):
    if (reason := unavailable(flavour)) is not None:
        pytest.skip(reason)
    network = lk.derive(space, space[0]).eval()
    x = standardise(data.test.pixels[:8])
    run = EngineRun(build(onnx_bytes(network, x), Settings(Profile(1, 8, 8)), flavour=flavour))
    with torch.no_grad():
        torch.testing.assert_close(run(x.cuda()).cpu(), network(x), rtol=1e-3, atol=1e-3)
    assert run.layers()
    with pytest.raises(lk.InputError, match="batches of 1 to 8 images; got 9"):
        run(torch.zeros(9, 3, 32, 32))


# ---- TensorRT 10 and 11, by modules that stand for them ------------------------------------------------------


class FakeTensorRT(types.SimpleNamespace):
    """What `build` uses of the module, and a record of what it asked for. `typed`: must strong typing be asked for?"""

    def __init__(self, version: str, typed: bool, plan: bytes | None = b"plan"):
        asked = {}
        tensor = types.SimpleNamespace(name="images", shape=(-1, 3, 32, 32))
        network = types.SimpleNamespace(num_inputs=1, num_layers=7, get_input=lambda i: tensor)
        profile = types.SimpleNamespace(set_shape=lambda name, *shapes: asked.update(profile=(name, shapes)))
        config = types.SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: asked.update(memory=(pool, size)),
            set_flag=lambda flag: asked.update(tf32=True),
            clear_flag=lambda flag: asked.update(tf32=False),
            create_timing_cache=lambda old: types.SimpleNamespace(serialize=lambda: old + b"!"),
            set_timing_cache=lambda cache, ignore_mismatch: asked.update(cache=cache),
            get_timing_cache=lambda: asked["cache"],
            add_optimization_profile=lambda profile: 0,
        )
        builder = types.SimpleNamespace(
            create_network=lambda flags: (asked.update(flags=flags), network)[1],
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: plan,
        )
        creation = types.SimpleNamespace(STRONGLY_TYPED=2) if typed else types.SimpleNamespace()

        class ILogger:
            ERROR, INTERNAL_ERROR = "error", "internal error"

            def __init__(self):
                pass

        super().__init__(
            __version__=version,
            asked=asked,
            ILogger=ILogger,
            Builder=lambda log: (log.log("error", "out of tactics"), log.log("info", "hello"), builder)[2],
            OnnxParser=lambda network, log: types.SimpleNamespace(parse=lambda model: True),
            NetworkDefinitionCreationFlag=creation,
            MemoryPoolType=types.SimpleNamespace(WORKSPACE="workspace"),
            ProfilingVerbosity=types.SimpleNamespace(DETAILED="detailed"),
            BuilderFlag=types.SimpleNamespace(TF32="tf32"),
            config=config,
            loads=(loads := []),  # whether the next engines load; they do beyond these
            Runtime=lambda log: types.SimpleNamespace(deserialize_cuda_engine=lambda plan: load(log)),
        )

        def load(log):
            if not loads or loads.pop(0):
                return types.SimpleNamespace(create_execution_context=dict, get_tensor_dtype=lambda name: name)
            return log.log("error", "out of memory")


@pytest.fixture
def fake(monkeypatch):
    """A TensorRT that is here, with a GPU, and whose engines load."""
    fake = FakeTensorRT("11.4.0", False)
    monkeypatch.setattr(tensorrt_engines, "module", lambda flavour: fake)
    monkeypatch.setattr(tensorrt_engines, "unavailable", lambda flavour: None)
    monkeypatch.setattr(tensorrt_engines, "_capability", lambda: (9, 0))
    for name in ("device_name", "capability", "driver"):
        monkeypatch.setattr(tensorrt_engines, name, lambda device, name=name: name)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(tensorrt_engines, "_torch_dtype", lambda trt, dtype: torch.float32)
    return fake


def test_a_timing_cache_is_handed_on_to_the_next_build(fake, tmp_path):
    first = cached(a_model("Relu", ""), Settings(), tmp_path, flavour="tensorrt")
    second = cached(a_model("Neg", ""), Settings(), tmp_path, flavour="tensorrt")
    assert (first.timing_cache, second.timing_cache) == (b"!", b"!!")


@pytest.mark.parametrize(("version", "typed", "flags"), [("10.16.1", True, 4), ("11.4.0", False, 0)])
def test_strong_typing_is_asked_for_where_it_must_be(monkeypatch, version, typed, flags):
    fake = FakeTensorRT(version, typed)
    monkeypatch.setattr(tensorrt_engines, "buildable", lambda flavour: fake)
    engine = build(a_model("Relu", ""), Settings(Profile(1, 4, 16), tf32=True), flavour="tensorrt", timing=b"old")
    assert (engine.plan, engine.version, engine.layers, engine.timing_cache) == (b"plan", version, 7, b"old!")
    assert fake.asked["flags"] == flags and fake.asked["tf32"] is True
    assert fake.asked["profile"] == ("images", ((1, 3, 32, 32), (4, 3, 32, 32), (16, 3, 32, 32)))
    assert fake.config.profiling_verbosity == "detailed" and fake.config.builder_optimization_level == 3


def test_a_build_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(tensorrt_engines, "buildable", lambda flavour: FakeTensorRT("11.4.0", False, plan=None))
    with pytest.raises(lk.InputError, match=r"tensorrt 11\.4\.0 could not build the engine: out of tactics"):
        build(a_model("Relu", ""), flavour="tensorrt")


def test_a_kept_engine_that_does_not_load_is_built_again_once(fake, counted, tmp_path):
    use = lambda: ready(a_model("Relu", ""), Settings(), tmp_path, "cuda", flavour="tensorrt")
    use(), use()
    assert len(counted) == 1
    fake.loads.append(False)
    assert not use().engine.kept and len(counted) == 2
    assert use().engine.kept and len(counted) == 2, "the new one replaces it"
    fake.loads.extend([False, False])
    with pytest.raises(lk.InputError, match=r"does not load \(out of memory\): tensorrt 11.4.0 built it just now"):
        use()
    assert len(counted) == 3 and not fake.loads


def test_a_new_engine_that_does_not_load_is_not_built_again(fake, counted, tmp_path):
    fake.loads.append(False)
    with pytest.raises(lk.InputError, match=r"built it just now; install one that fits"):
        ready(a_model("Relu", ""), Settings(), tmp_path, "cuda", flavour="tensorrt")
    assert len(counted) == 1


def test_engines_are_kept_by_the_version_of_the_module(fake, counted, tmp_path):
    """A distribution of another name, such as tensorrt-cu13, has it too."""
    for version in ("10.16.1", "11.4.0", "10.16.1"):
        fake.__version__ = version
        assert cached(a_model("Relu", ""), Settings(), tmp_path, flavour="tensorrt").version == version
    assert len(counted) == 2


def test_without_a_gpu_nothing_of_tensorrt_is_constructed(fake, monkeypatch):
    """Its Builder would be null; that of TensorRT-RTX is not."""
    monkeypatch.setattr(tensorrt_engines, "_capability", lambda: None)
    build(a_model("Relu", ""), flavour="tensorrt-rtx")
    fake.Builder = lambda log: pytest.fail("constructed a Builder")
    with pytest.raises(
        lk.InputError, match=r"tensorrt builds engines on an NVIDIA GPU .*; tensorrt-rtx builds without"
    ):
        build(a_model("Relu", ""), flavour="tensorrt")
