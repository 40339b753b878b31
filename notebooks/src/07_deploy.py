# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["nb-header"]
# # 07. Does the chosen network keep its promise?
#
# A search promised an error, evaluated on shared weights, and a latency, added up from a table. Now the promise is
# called in: the network is trained by itself, tested once, exported out of PyTorch, proved to compute the same, and put
# on the stopwatch in every runtime there is. At the end the figures of the search and of the stopwatch stand side by
# side.
#
# **Time** about 45 minutes, 15 of them for the two exercises. **Before this** [04 latency](04_latency.ipynb) and
# [06 the frontier](06_frontier.ipynb).

# %% [markdown] tags=["objectives"]
# You will
#
# - **O7.1** *choose* a network under a deadline, *train* it from scratch, and use the test images once;
# - **O7.2** *export* it to ONNX, *inspect* what became of its layers, and *prove* that it computes the same;
# - **O7.3** *race* runtimes and precisions fairly, and *report* a slow-down and an absence as what they are;
# - **O7.4** *compare* what the search believed with what was measured, and say which conditions differ.

# %% tags=["parameters"]
FAST = True  # 3,000 images in small batches, some seconds; False: 10,000 and the course's recipe
SEED = 0  # of the images and of the training
DEADLINE = 0.0  # milliseconds by the recorded table; 0: halfway between the fastest and the slowest
THREADS = 1  # cores a network may use on the stopwatch: with one, other programs disturb least

# %% tags=["setup"]
import tempfile
from collections import Counter
from pathlib import Path

import onnx
import torch

import labkit as lk

lk.course.start("07", seed=SEED)
study = lk.benches.study.load_study("five_layer-glyphs")
data = lk.data.glyphs(3_000, 1_000, 2_000, seed=SEED) if FAST else lk.data.glyphs(seed=SEED)
recipe = lk.TrainConfig(epochs=5, batch_size=32, seed=SEED) if FAST else lk.TrainConfig(seed=SEED)
SECONDS = 0.3 if FAST else 1.0  # for each thing timed

# %% [markdown]
# ## From a deadline to a network
#
# The recorded study of notebook 05 holds an error and a latency for every architecture. The deadline decides.

# %%
fastest, slowest = study.table.range_ms()
deadline = DEADLINE or round((fastest + slowest) / 2, 2)
chosen = study.frontier.best(max_ms=deadline)
print(f"within {deadline} ms: {chosen.architecture}")
print(f"promised: {100 * chosen.error:.1f} % error (shared weights), {chosen.latency_ms:.3f} ms (table)")
print(f"conditions of the table: {study.table.card}")

# %% [markdown]
# `lk.derive` makes a plain network of it: modules in a row, nothing mixed, freshly initialised. The shared weights
# have done their work.

# %%
network = lk.derive(study.space, chosen.architecture, seed=SEED)
print(f"{sum(p.numel() for p in network.parameters()):,} parameters")
for edge, module in zip(study.space.edges, network.body):
    print(f"  {edge.fixed or f'layer {edge.slot + 1}':8}", "  ".join(type(m).__name__ for m in module.modules()))

# %% tags=["predict"]
lk.course.predict(
    "p7.1",
    "Trained from scratch, its error on the test images will be ...",
    ["larger than on the shared weights", "about the same", "clearly smaller"],
)

# %%
records = lk.train(network, data, recipe)
for record in records:
    print(f"epoch {record['epoch'] + 1}: loss {record['loss']:.3f} nats, validation error {record['valid_error']:.1%}")

# %% [markdown]
# Nobody has looked at the test images so far: the weights learned on the training part, and the
# architecture was chosen on the validation part. They are used here, once, for the number that is reported. Whoever
# looks twice and changes something in between has turned them into validation images.

# %%
test_error = lk.error(network, data.test)
noise = (test_error * (1 - test_error) / len(data.test)) ** 0.5
print(f"test error {test_error:.1%} ± {noise:.1%} (one standard error, {len(data.test):,} images)")
if FAST:
    print(f"SHORTENED training: {len(data.train):,} images; more of them err less")
lk.course.reveal("p7.1", f"{test_error:.1%} against {chosen.error:.1%} on the shared weights")

# %% [markdown]
# The two errors come from different images and different weights, so their difference is no measurement of anything.
# But mind its size. Shared weights are a compromise among 243 networks, and this one need not compromise. The
# supernet's error ranked the candidates; it was never meant to be what they achieve.

# %% [markdown]
# ## Out of PyTorch
#
# ONNX is a file format for networks: a graph of named operations with their weights. Other runtimes read it without
# Python. The export takes some seconds, for it traces the network.

# %%
folder = tempfile.TemporaryDirectory()
path = lk.deploy.to_onnx(network, Path(folder.name, "chosen.onnx"))
model = onnx.load(path)
print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, opset {model.opset_import[0].version}")
print(" -> ".join(node.op_type for node in model.graph.node))

# %% [markdown]
# Compare with the modules above. One kind is gone: a batch norm in eval mode multiplies and adds constants, and so
# does the convolution before it, so the exporter *folds* one into the other. The count:

# %%
kinds = ("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AvgPool2d", "Linear")
modules = Counter(type(m).__name__ for m in network.modules())
nodes = Counter(node.op_type for node in model.graph.node)
print("PyTorch:", {kind: modules[kind] for kind in kinds if modules[kind]})
print("ONNX:   ", dict(nodes))
shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
print("input:  ", model.graph.input[0].name, shape)

# %% [markdown] tags=["exercise"]
# ### Exercise e7.1: does it compute the same? (O7.2)
#
# Another runtime adds in another order, so logits differ in the last digits. *Parity* says how much: the largest
# difference, relative to the largest expected logit. Not the mean, for one wrong logit in a million must show, and not
# the share of equal classes, for a class can stay right by luck.


# %% tags=["exercise"]
def parity_error(found, expected):
    """Largest difference of two tensors of logits (B, classes), over the largest expected logit."""
    # stub: return None
    # solution
    return (found - expected).abs().max() / expected.abs().max()
    # end solution


# %% tags=["check"]
lk.course.check("e7.1", parity_error)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: largest in size</summary>
# A difference of −0.5 is larger than one of 0.1: take <code>.abs()</code> before <code>.max()</code>.</details>
# <details><summary>Hint 2: relative to what?</summary>
# One number divides: the largest expected logit in size. A single logit may be 0.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# <code>(found - expected).abs().max()</code>, divided by <code>expected.abs().max()</code>.</details>

# %% [markdown]
# Real test images (for their pixels only, no label is read), at batch 1, 2 and 5: a file whose batch was fixed by
# accident works at one of these and fails at the next.

# %%
exported = lk.runtimes.Preparation(onnx_model=path.read_bytes(), calibration=data.train)
run = lk.runtimes.prepare(network, "onnxruntime", torch.zeros(1, 3, 32, 32), exported)
for size in (1, 2, 5):
    images = lk.data.standardise(data.test.pixels[:size])
    with torch.no_grad():
        expected = network.eval()(images)
    difference = (run(images) - expected).abs().max()
    print(f"batch {size}: logits {tuple(expected.shape)}, largest difference {difference:.1e}")
worst = lk.deploy.parity(network, run, data.test)
print(f"by name, relative: {worst:.1e}; tolerated in float32: {lk.deploy.TOLERANCE:.0e}")

# %% [markdown]
# ## Where did my layer go?
#
# The file is only half of the way. Before ONNX Runtime runs a graph it *compiles* it: it swallows activations and sums
# into the convolution before them, and lays the pixels out as the processor likes them. `lk.runtimes.fusion.fusions`
# reads the graph that is left and says of each layer which node does its work now.

# %%
fused = lk.runtimes.fusion.fusions(network, torch.zeros(2, *study.space.image))
print(f"{len({row.layer for row in fused})} layers of PyTorch, {len({row.node for row in fused})} nodes that compute")

# %% tags=["keep_output"]
ax = lk.plots.fusion(fused)
lk.plots.picture(ax, "Layers of PyTorch, and the node of the compiled graph that does the work of each.")

# %% tags=["widget"]
lk.widgets.switch(
    "layer",
    {f"{row.layer} ({row.kind})": row for row in fused},
    lambda row: lk.runtimes.fusion.as_html(fused, row.node),
)

# %% [markdown]
# A convolution, its batch norm and its activation are one node: the norm went into the weights at the export, the
# activation into the loop over the pixels at the compilation. Neither costs a pass over memory of its own any more. So
# a search that adds up *layers* measured in eager PyTorch pays for passes that the deployed network does not make.

# %% [markdown]
# ## The race
#
# `lk.deploy.benchmark` gives every runtime the same images, warm-up and number of threads, and times them *in turn*
# with each other (notebook 04). The first row, eager PyTorch, is the baseline; *channels last* is eager too, with the
# same numbers laid out pixel by pixel. Half the time is **2.0x faster**; twice
# the time is **2.0x slower**, never "0.5x faster". A runtime that is not here has a row too, and the row says why.

# %% tags=["predict"]
lk.course.predict(
    "p7.2",
    "For one image at a time, ONNX Runtime against eager PyTorch on this machine is ...",
    ["slower", "less than 1.5 times as fast", "1.5 to 3 times as fast", "more than 3 times as fast"],
)

# %%
torch.set_num_threads(THREADS)
conditions = {size: lk.TimingConditions(batch_size=size, seconds=SECONDS) for size in (1, 32)}
races = {size: lk.deploy.benchmark(network, data.test, conditions[size], preparation=exported) for size in (1, 32)}
for row in races[1]:
    print(row)
engine = {row.name: row for row in races[1]}["onnxruntime"]
lk.course.reveal("p7.2", lk.deploy.speedup_text(engine.speedup))

# %% tags=["keep_output"]
ax = lk.plots.race(races[1])
lk.plots.picture(ax, "Batch 1, measured: " + "; ".join(" ".join(str(row).split()) for row in races[1]))

# %% [markdown]
# Bars end at the number that counts here, the best block; the thin line goes on to the median. Where it is long the
# machine was busy, and a difference smaller than it means little.
#
# One image at a time is one use. A server collects batches, and the order of the runtimes may change with the batch:

# %% tags=["widget"]
lk.widgets.switch(
    "batch size",
    {f"batch {size}": size for size in races},
    lambda size: lk.plots.race(races[size]),
    alt=lambda size: "; ".join(" ".join(str(row).split()) for row in races[size]),
)

# %%
for size, rows in races.items():
    timed = [row for row in rows if row.measurement]
    first = min(timed, key=lambda row: row.measurement.measured_ms)
    print(f"batch {size:2}: {first.name} is first, {first.measurement.measured_ms / size:.3f} ms an image")
print(f"tensorrt: {races[1][-1].reason or 'took part'}")

# %% [markdown]
# ## Fewer bits
#
# Weights and arithmetic need not be 32-bit floats. **INT8** keeps eight bits: each tensor gets a scale, found by
# looking at real images (*calibration*), and the processor multiplies small integers. What that costs in accuracy is
# counted.

# %% tags=["predict"]
lk.course.predict(
    "p7.3",
    "In INT8, against ONNX Runtime in float32, this small network at batch 32 will be ...",
    ["slower", "about as fast", "1.5 to 3 times as fast", "more than 3 times as fast"],
)

# %%
bits = lk.deploy.benchmark(
    network, data.test, conditions[32], runtimes=("onnxruntime",), precisions=("fp32", "int8"), preparation=exported
)  # fmt: skip
for row in bits:
    print(row)
full, eight = bits[1:]
images = lk.data.standardise(data.valid.pixels)  # the test images have said what they were kept for
run = lk.deploy.compile(network, "onnxruntime", "int8", example=images[:2], calibration=data.train)
right = (run(images).argmax(-1) == data.valid.labels).float().mean().item()
print(f"validation error in INT8 {1 - right:.1%}, in float32 {lk.error(network, data.valid):.1%}")
ratio = full.measurement.measured_ms / eight.measurement.measured_ms
lk.course.reveal("p7.3", f"INT8 is {lk.deploy.speedup_text(ratio)} than float32 in the same runtime")

# %% [markdown]
# Parity is looser here on purpose: a logit may be off by a few percent, for what counts is the class. The recipe
# depends on the runtime. The model above has unsigned activations and integer biases, as ONNX Runtime and
# OpenVINO take it on a CPU; TensorRT refuses just that model, and wants everything signed and the biases in float.
#
# ## The same race, recorded: a deeper network
#
# Five layers are few. The next race is that of a network searched in `mobile-tiny`, 11 convolutions deep and narrow,
# on the two cores that its card names.

# %%
recorded_races, made = lk.benches.deploy.load("mobile-tiny")
print(f"recorded {made['date']}: {recorded_races[0].architecture}")
for race in recorded_races:
    print(f"\nbatch {race.batch_size}, on {race.rows[0].measurement.card.device}")
    for row in race.rows:
        if row.measurement and row.precision in ("fp32", "int8"):
            print(" ", row)

# %% [markdown]
# **What to notice.** (1) With one image the compiled runtimes gain most: eager PyTorch spends its time *between* the
# operations, and there are many small ones. (2) With 32 images the arithmetic counts, and that is the same for all:
# less than half of the gain is left. (3) Eight bits help only there, for with one image the arithmetic was not the
# problem. (4) The baseline matters: next to eager in channels last the same runtime gains less.
#
# And a GPU? The next network was searched in the same space for an H200, by its own latency table:

# %%
on_gpu, made = lk.benches.deploy.load("gpu-nvidia-h200/mobile-tiny")
print(f"recorded {made['date']}: {on_gpu[0].architecture}")
for race in on_gpu:
    print(f"\nbatch {race.batch_size}, on {race.rows[0].measurement.card.device}")
    for row in race.rows:
        if row.precision in ("fp32", "fp16"):
            print(" ", row)

# %% [markdown]
# **What to notice.** (1) Eager, the GPU takes about as long for 64 images as for one: it waits for Python, which
# launches one small kernel after the other. Half precision adds launches, and makes it *slower*. (2) Launched as one
# CUDA graph, the same kernels take 17 to 28 % of the time, and now half precision pays. A compiler, which makes fewer
# kernels of them and leaves the launching to Python, gains a fifth. Of a speed-up that somebody promises you on a
# small network, ask how much is left next to a CUDA graph. (3) Rows without a number say why: TensorRT for RTX cards
# runs on this GPU as little as on your CPU. Asked all the same, it refused: it does not know the H200's compute
# capability, 9.0.
#
# ## What TensorRT builds
#
# TensorRT compiles for one GPU: it tries kernels and keeps the fastest. Its engines need that GPU to run, but the RTX
# flavour can *build* them anywhere. So what is shown here is a real builder at work, and no word about speed.

# %%
recorded, made = lk.benches.engines.load()
flavour = "tensorrt-rtx"
if flavour in lk.runtimes.tensorrt_engines.installed():
    print("built here and now:")
    rows = lk.benches.engines.builds(network, data.train, models=("fp32", "fp16", "u8s8", "s8s8"), flavour=flavour)
else:
    print(f"{flavour} is not installed here ({lk.runtimes.tensorrt_engines.EXTRAS[flavour]}); recorded {made['date']}:")
    rows = [row for row in recorded if row.space == "five_layer"]
for row in rows:
    print(row)
print("layers after fusion, and milliseconds: not recorded yet; that needs a GPU that the flavour supports")
print("here:", lk.runtimes.tensorrt_engines.unavailable(flavour) or "such a GPU is present")

# %% [markdown]
# **How fast is it, then?** NVIDIA's article on UNAS reports TensorRT as more than 6 times as fast as PyTorch in FP32
# and more than 16 times in FP16, on a V100. That is a published claim about other networks on another device. Nothing
# in this notebook confirms or contradicts it, and no row here is filled in from it: a number without a card is what
# notebook 04 taught you to refuse.

# %% [markdown] tags=["exercise"]
# ### Exercise e7.2: the line in the report (O7.3)
#
# Three numbers become a few words: `"2.0x faster"`, `"1.3x slower"` (equal times are `"1.0x faster"`), or, before any
# speed is mentioned, `"wrong answers"` where the parity error is above `tolerance`, or is not a number at all.


# %% tags=["exercise"]
def decision(baseline_ms, ms, parity_error, tolerance=1e-4):
    """What to report of a runtime: "wrong answers", "1.8x faster" or "1.3x slower"."""
    # stub: return None
    # solution
    if not parity_error <= tolerance:  # also when it is NaN
        return "wrong answers"
    speedup = baseline_ms / ms
    return f"{speedup:.1f}x faster" if speedup >= 1 else f"{1 / speedup:.1f}x slower"
    # end solution


# %% tags=["check"]
lk.course.check("e7.2", decision)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: the order of the questions</summary>
# First parity, then speed. A fast wrong answer is worth nothing.</details>
# <details><summary>Hint 2: not a number</summary>
# <code>nan > tolerance</code> is false, and so is <code>nan <= tolerance</code>. Ask the second, with
# <code>not</code>.</details>
# <details><summary>Hint 3: slower</summary>
# The speed-up is <code>baseline_ms / ms</code>. Below 1, print <code>1 / speedup</code> with "slower", to one
# decimal: <code>f"{1 / speedup:.1f}x slower"</code>.</details>

# %% [markdown]
# ## The loop is closed
#
# What did the search believe, and what is true here? Four clocks for the same architecture. The first is the number it
# was chosen by. The second is the same kind of sum, from parts measured here and now. The third and fourth are the
# whole network, end to end.

# %% tags=["keep_output"]
kind = study.table.card.runtime
here = lk.LatencyTable.measure(study.space, lk.TimingConditions(runtime=kind, seconds=SECONDS / 4))
whole = {row.name: row.measurement for row in races[1] if row.measurement}
rows = {
    f"the search's table, {kind}": (chosen.latency_ms, "recorded"),
    f"a table made here, {kind}": (here.table_ms(chosen.architecture), "predicted"),
    "whole, eager PyTorch": (whole["torch"].measured_ms, "measured"),
    "whole, ONNX Runtime": (whole["onnxruntime"].measured_ms, "measured"),
}
ax = lk.plots.clocks(rows)
lk.plots.picture(ax, "; ".join(f"{name} {ms:.3f} ms, {origin}" for name, (ms, origin) in rows.items()))

# %%
different = study.table.card.differences(here.card)
print(f"the search's table was recorded in other conditions: {', '.join(different) or 'another day only'}")
ratio = whole[kind].measured_ms / here.table_ms(chosen.architecture)
print(f"here and now, {kind}: the whole takes {ratio:.2f} times the sum of its parts")
print(f"ONNX Runtime against eager: {lk.deploy.speedup_text(engine.speedup)}")

# %% [markdown]
# The last three bars were taken here, with the same threads and the same batch, so they may be divided by each other.
# A table against the whole in the same runtime says how far *adding up parts* is off; the two wholes say what the
# *runtime* is worth. The first bar belongs to other conditions and stays what it is, a recorded belief.
#
# And the deadline? It was set in milliseconds *of the table*. If it is a deadline of the world, it must hold for the
# number measured in the runtime that will be deployed:

# %%
for name, measurement in whole.items():
    verdict = "within" if measurement.measured_ms <= deadline else "NOT within"
    print(f"{name:20} {measurement.measured_ms:.3f} ms is {verdict} the {deadline} ms")
folder.cleanup()

# %% [markdown]
# If it is not within, go back with a table made in the runtime you deploy on, `LatencyTable.measure(space,
# TimingConditions(runtime="onnxruntime"))`, and choose again. That is the loop.
#
# ## A common wrong idea
#
# *"Exported and compiled, so faster."* A runtime is a program with habits: it may win at one batch size and lose at
# another, win on convolutions and lose on pooling. The race decides, on your network, your batch and your device. And
# parity comes before it.
#
# ## What you take with you
#
# - **O7.1** The search's error was a means to choose. The error to report comes from training afresh and one look at
#   the test images.
# - **O7.2** An export folds and renames, so look at the graph, and prove parity on real images at several batch sizes.
# - **O7.3** Same images, same threads, in turn; spread shown; slow-downs and absences in plain words.
# - **O7.4** Table, whole and runtime are three numbers. Only those with like cards are compared.
#
# **Next:** your own device and images. `python -m labkit latency build` measures a table where you are, `--data
# folder:PATH` brings your images, and `labkit search`, `labkit export --verify` and `labkit report` walk this loop
# without a notebook.
#
# **References.** ONNX, onnx.ai. ONNX Runtime, onnxruntime.ai. A. Vahdat, [*Discovering GPU-friendly Deep Neural
# Networks with Unified Neural Architecture
# Search*](https://developer.nvidia.com/blog/discovering-gpu-friendly-deep-neural-networks-with-unified-neural-architecture-search/),
# NVIDIA Developer Blog (the published TensorRT claim). Vahdat et al., *UNAS*, CVPR 2020, arXiv 1912.07651.
