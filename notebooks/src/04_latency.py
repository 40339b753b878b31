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
# # 04. How long does a network really take?
#
# A camera delivers an image, and the answer is due a millisecond later. Whether a network fits is a number on a
# stopwatch, and stopwatches lie: about the first call, about a busy machine, about another runtime. This notebook
# builds one, breaks it, and then says what a latency must carry with it before anyone may compare it.
#
# **Time** about 50 minutes, 15 of them for the two exercises. **Before this** [01 search
# spaces](01_search_spaces.ipynb) (what an architecture is); no hardware knowledge.

# %% [markdown] tags=["objectives"]
# You will
#
# - **O4.1** *build* a stopwatch, *break* it in seven ways, and *repair* it;
# - **O4.2** *read* a timing and its card, and refuse to compare what does not compare;
# - **O4.3** *predict* a network's latency from a table of its parts, and *measure* how far the sum is from the whole;
# - **O4.4** *find* two architectures that change places between two runtimes or batches, and say what that means for
#   a search.

# %% tags=["parameters"]
FAST = True  # about 0.1 s for each thing timed; False: three times that, and more networks
SEED = 0  # of the random architectures
THREADS = 1  # cores a network may use: with one, other programs on the machine disturb least

# %% tags=["setup"]
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import torch

import labkit as lk

torch.set_num_threads(THREADS)
lk.course.start("04", seed=SEED)
SECONDS, REPEATS, NETWORKS = (0.1, 12, 12) if FAST else (0.3, 40, 40)

# %% [markdown]
# ## A stopwatch in three lines
#
# The network is the five-layer one with a 3×3 convolution everywhere. Its weights are random: how long a network takes
# does not depend on what it has learnt. It runs *eager*: PyTorch calls one operation after the other, as written.

# %%
space = lk.spaces.five_layer()
network = lk.derive(space, space.architecture(["conv3x3"] * 5), seed=SEED).eval()
image = torch.randn(1, *space.image, generator=torch.Generator().manual_seed(SEED))  # batch 1


@torch.inference_mode()
def run():
    network(image)


def stopwatch(call):
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


# %% tags=["predict"]
lk.course.predict(
    "p4.1",
    "The very first call against a typical one, a few hundred calls later: the first takes ...",
    ["about as long", "two to five times as long", "more than five times as long"],
)

# %%
single = [stopwatch(run) for _ in range(300)]
typical = statistics.median(single)
print(f"first call {single[0]:.2f} ms, typical {typical:.2f} ms")
print(f"fastest {min(single):.2f} ms, mean {statistics.mean(single):.2f}, slowest {max(single):.2f}")
lk.course.reveal("p4.1", f"{single[0] / typical:.1f} times as long")

# %% tags=["keep_output"]
marks = {"fastest": min(single), "median": typical, "mean": statistics.mean(single)}
ax = lk.plots.calls(single, marks)
lk.plots.picture(ax, "300 calls in order: the first is slow, most lie in a band, some jump far above.")

# %% [markdown]
# One network, one image, one machine, and the slowest call takes several times what the fastest does. Nothing about
# the *network* changed from call to call. So a stopwatch can be broken, and in published code it often is. Seven
# ways:
#
# 1. **No warm-up.** The first call also chooses algorithms, allocates memory and fills caches.
# 2. **The mean on a shared machine.** It adds other programs' work to yours, and disturbances only ever *add* time.
# 3. **No synchronisation.** A GPU takes the work and returns at once. Who stops the clock then has timed the asking.
# 4. **Another batch.** 32 images together, divided by 32, is not what one image takes when it comes alone.
# 5. **Other threads.** A number taken on all cores says nothing about a program that leaves you one.
# 6. **Warm caches.** Called over and over, a network finds its weights in the cache. In a program that does other work
#    between two images it does not.
# 7. **Zeros for images.** Some hardware is faster, or clocks higher, when it multiplies nothing by nothing.
#
# Break ours in all seven ways, and see which of them do harm *here*. The second comes first, and it is the most
# instructive, because we know the disturbance: a neighbour of our own making, who takes the core for the first 8 ms of
# every 24.


# %%
def beside_a_neighbour(call, busy_s=0.008, period_s=0.024):
    """The same call on a core that someone else takes for the first part of every period."""

    def shared():
        phase = time.perf_counter() % period_s
        if phase < busy_s:
            time.sleep(busy_s - phase)  # wait until the core is free
        call()

    return shared


def time_blocks(call, blocks=15, calls=4):
    """Milliseconds a call, in each of some blocks: long enough to time, short enough to be lucky."""
    return [stopwatch(lambda: [call() for _ in range(calls)]) / calls for _ in range(blocks)]


print("undisturbed:", [round(ms, 2) for ms in time_blocks(run)[:8]])
print("disturbed:  ", [round(ms, 2) for ms in time_blocks(beside_a_neighbour(run))[:8]])

# %% [markdown] tags=["exercise"]
# ### Exercise e4.1: three numbers for fifteen (O4.1)
#
# A `Timing` in this course keeps three numbers of its blocks: the **best**, the **median**, and the **spread**, which
# is the distance between the first and the third quartile (a quarter of the blocks is below the first, a quarter above
# the third). Write them.


# %% tags=["exercise"]
def summarise(blocks):
    """(best, median, spread) of a list of milliseconds."""
    # stub: return None
    # solution
    first, median, third = statistics.quantiles(blocks, n=4)
    return min(blocks), median, third - first
    # end solution


# %% tags=["check"]
lk.course.check("e4.1", summarise)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: which numbers?</summary>
# Disturbances only add time, so the best block is the smallest. The median and the quartiles come from the sorted
# list; the module <code>statistics</code> is imported.</details>
# <details><summary>Hint 2: quartiles</summary>
# <code>statistics.quantiles(blocks, n=4)</code> returns three numbers: first quartile, median, third
# quartile.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# <code>first, median, third = statistics.quantiles(blocks, n=4)</code>, and then return
# <code>min(blocks), median, third - first</code>.</details>

# %% [markdown]
# Now the contest. The same network is timed several times over beside the neighbour, and each time four statistics say
# what a call takes. The dashed line is what an undisturbed block takes.

# %% tags=["keep_output"]
true_ms = min(time_blocks(run, blocks=150))
repeats = [time_blocks(beside_a_neighbour(run)) for _ in range(REPEATS)]
found = {
    "one call": [stopwatch(beside_a_neighbour(run)) for _ in range(REPEATS)],
    "mean of 15 blocks": [statistics.mean(blocks) for blocks in repeats],
    "median of 15 blocks": [statistics.median(blocks) for blocks in repeats],
    "best of 15 blocks": [min(blocks) for blocks in repeats],
}
ax = lk.plots.estimates(found, true_ms)
lk.plots.picture(ax, "Four statistics of a disturbed stopwatch, a dot a repeat, beside the undisturbed time.")

# %%
for name, values in found.items():
    off = [100 * (value / true_ms - 1) for value in values]
    print(f"{name:20} {statistics.median(off):+4.0f} % off, typically; worst {max(off, key=abs):+.0f} %")

# %% [markdown]
# The mean is too high nearly every time, and that it *repeats* makes it no better: a small scatter is no sign of
# truth. A single call may be right until it meets the neighbour. The best block looks through him as long as one block
# in fifteen is left alone, and the median as long as most are. (Where other work fills all fifteen blocks as well, no
# statistic repairs it: only a quiet machine does.)
#
# **Which one, then?** When this course was made, on a CPU shared with other programs, the best of 15 blocks repeated
# within 2 to 3 %, and medians moved by 5 to 58 %. So CPU tables here are made of *best*. On a GPU, whose clock changes
# by itself, the best is a lucky clock and the *median* is used. Whichever was used is written down.
#
# ## The other six
#
# Each of them beside its repair, on the same network. Before you look:

# %% tags=["predict"]
lk.course.predict(
    "p4.2",
    "Which of the seven is off by the largest factor on this machine?",
    ["no warm-up", "the mean", "no synchronisation", "another batch", "other threads", "warm caches", "zeros"],
)

# %% [markdown]
# There may be no GPU here, so a thread stands for one: it takes work, returns at once, and does it in order.

# %%
device = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(THREADS,))


def launch():
    """Ask the device for a pass, and do not wait."""
    return device.submit(run)


def best(call, **options):
    return min(time_blocks(call, **options))


launched, finished = best(launch), best(lambda: launch().result())
device.shutdown()  # waits for what is still to do
print(f"the clock stopped at the launch: {launched:.3f} ms; when the work was done: {finished:.3f} ms")

# %% [markdown]
# On a GPU, `torch.cuda.synchronize()` before both readings of the clock repairs it, or the events that the device
# stamps itself. Now the others.

# %%
batch, zeros = torch.randn(32, *space.image), torch.zeros(1, *space.image)
elsewhere = torch.zeros(16_000_000)  # 64 MB: adding it up pushes the weights out of the caches


@torch.inference_mode()
def run_on(images):
    network(images)


def after_other_work(calls=30):
    """Milliseconds of single calls, each after the caches were filled with something else."""
    found = []
    for _ in range(calls):
        elsewhere.sum()
        found.append(stopwatch(run))
    return found


def on_all_cores():
    torch.set_num_threads(os.cpu_count())
    run()  # the threads are started once
    found = best(run)
    torch.set_num_threads(THREADS)
    return found


# %%
alone = best(run)
said = {  # what the broken stopwatch says, and the repaired one
    "1 no warm-up": (single[0], typical),
    "2 the mean, beside a neighbour": (statistics.median(map(statistics.mean, repeats)), true_ms),
    "3 no synchronisation": (launched, finished),
    "4 batch of 32, divided by 32": (best(lambda: run_on(batch), blocks=8) / 32, alone),
    f"5 all cores ({os.cpu_count()}) for {THREADS}": (on_all_cores(), alone),
    "6 warm caches for cold ones": (alone, statistics.median(after_other_work())),
    "7 zeros for images": (best(lambda: run_on(zeros)), alone),
}
off = {name: broken / repaired for name, (broken, repaired) in said.items()}
worst = max(off, key=lambda name: max(off[name], 1 / off[name]))
for name, (broken, repaired) in said.items():
    print(f"{name:32} {broken:7.3f} ms instead of {repaired:7.3f}")
lk.course.reveal("p4.2", f"{worst[2:]}, by a factor of {max(off[worst], 1 / off[worst]):.1f}")

# %% tags=["keep_output"]
lk.plots.picture(lk.plots.defects(off), "Seven broken stopwatches as multiples of the repaired one; 1 is no harm.")

# %% [markdown]
# **What to notice.** A diamond is a defect that does harm here, a grey dot one that does not. Left of the line the
# network looks faster than it is, and those are the dangerous ones, because they please. Numbers 4, 5 and 6 have no
# right side of their own: whether a batch, all cores or cold caches are *right* depends on how the network will be
# used. No better clock repairs them, only writing down which it was. And a dot is a finding about this processor alone:
# what zeros cost on a GPU that changes its clock under load is another measurement.
#
# ## By name
#
# `lk.latency.time_interleaved` does this for several calls at once, and two things more: it warms each of them up, and
# it runs their blocks *in turn, in shuffled order*, so that whatever disturbs the machine disturbs all of them alike.
# A timing is called steady when its spread is at most a tenth of its median.

# %%
slow = lk.derive(space, space.architecture(["conv5x5"] * 5), seed=SEED).eval()


@torch.inference_mode()
def run_slow():
    slow(image)


timings = lk.latency.time_interleaved([run, run_slow], seconds=2 * SECONDS)
for name, t in zip(("3x3 everywhere", "5x5 everywhere"), timings):
    print(f"{name}: best {t.best_ms:.3f} ms, median {t.median_ms:.3f}, spread {t.spread_ms:.3f}", end="")
    print("  (steady)" if t.steady else "  (not steady)")
difference = 100 * (true_ms / timings[0].best_ms - 1)
print(f"3x3 everywhere by hand: {true_ms:.3f} ms, {difference:+.0f} % from the one by name")

# %% [markdown]
# ## A number and its card
#
# "0.3 ms" answers no question until it is known *where*. Every latency in labkit travels with a **card**: the
# conditions under which it was taken. Its origin is one of three words. **Measured** is here and now; **recorded** was
# read from a file, so from another day and perhaps another machine; **predicted** comes out of a model.

# %%
one = lk.TimingConditions(batch_size=1, seconds=SECONDS)
here = lk.measure([network], one)[0]
print(f"{here.measured_ms:.3f} ms, measured here, end to end")
for name, value in here.card.to_json().items():
    print(f"  {name:12} {value}")

# %% [markdown]
# Two cards that differ in a condition do not compare, and labkit refuses to divide their numbers. A batch of 32 images
# takes longer than one image: that is no slow-down, it is another question. (The `try` keeps the notebook going.)

# %%
crowd = lk.measure([network], lk.TimingConditions(batch_size=32, seconds=SECONDS))[0]
try:
    print(crowd.speedup_over(here))
except lk.InputError as refusal:
    print(f"refused: {refusal}")
print(f"a batch of 32 takes {crowd.measured_ms:.2f} ms, so an image in it {crowd.measured_ms / 32:.3f} ms")

# %% [markdown]
# ## A table of parts
#
# The space holds 243 architectures, and real spaces hold more than could ever be timed. But they are all made of few
# parts: here 5 slots with 3 candidates each. So time each *part* once, under the same conditions, and add up. What a
# part takes includes the price of an empty call, which is taken off each part and counted once, in the **overhead**
# together with stem, pooling and head.

# %% tags=["keep_output"]
table = lk.LatencyTable.measure(space, lk.TimingConditions(runtime="torch", batch_size=1, seconds=SECONDS))
ax = lk.plots.latency_table(table)
lk.plots.picture(ax, "Milliseconds that each of three candidates adds in each of five layers.")

# %%
fastest, slowest = table.range_ms()
print(f"overhead {table.overhead_ms:.3f} ms; all 243 lie between {fastest:.3f} and {slowest:.3f} ms")
print(f"its card: {table.card}")

# %% [markdown]
# Layers 1 and 2 see 16×16 pixels, layers 3 and 4 see 8×8 and layer 5 sees 4×4, and equal parts at equal sizes are
# timed once. A 5×5 convolution has 25/9 of the multiplications of a 3×3 one; compare that with the ratio in the table.

# %% [markdown] tags=["exercise"]
# ### Exercise e4.2: from the table to an architecture (O4.3)
#
# Write the sum that `table(weights)` computes. `matrix` holds milliseconds, a row a slot and a column a candidate,
# shape `(S, K)`; `weights` are op weights of the same shape, one-hot for an architecture. The same line then serves
# probabilities, for which it gives the *mean* latency.


# %% tags=["exercise"]
def sum_of_parts(matrix, overhead_ms, weights):
    """Milliseconds of op weights (S, K), from a table's matrix (S, K) and overhead."""
    # stub: return None
    # solution
    return (matrix * weights).sum() + overhead_ms
    # end solution


# %% tags=["check"]
lk.course.check("e4.2", sum_of_parts)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: one slot</summary>
# In one slot a one-hot row times a row of milliseconds leaves the milliseconds of the chosen candidate.</details>
# <details><summary>Hint 2: all slots</summary>
# Layers run one after the other, so their times add up. The overhead is paid once.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# <code>(matrix * weights).sum()</code>, plus the overhead.</details>

# %%
architecture = space.architecture("conv5x5-maxpool3x3-conv3x3-maxpool3x3-conv3x3")
parts = table.parts_ms(architecture)
print("  ".join(f"{op} {ms:.3f}" for op, ms in zip(architecture.ops, parts)))
print(f"and the overhead {table.overhead_ms:.3f} make {table.table_ms(architecture):.3f} ms")
assert abs(table.table_ms(architecture) - sum(parts) - table.overhead_ms) < 1e-9

uniform = torch.full((1, 5, 3), 1 / 3, dtype=torch.float64)  # probabilities, (N, S, K)
print(f"a random architecture takes {table(uniform).item():.3f} ms on average")

# %% [markdown]
# ## The sum of parts is a model, not a measurement
#
# So `table_ms` is a *prediction*. Here it meets `measured_ms`: random architectures, timed as wholes, in turn with
# each other. Whiskers go from the best block to the median one.

# %% tags=["keep_output"]
some = space.sample(NETWORKS, torch.Generator().manual_seed(SEED))
whole = lk.measure([lk.derive(space, a) for a in some], one)
sums = [table.table_ms(a) for a in some]
ax = lk.plots.parts_against_whole(sums, whole)
lk.plots.picture(ax, "Table against measured milliseconds of random architectures: they rise together.")

# %% [markdown]
# Two questions, two answers. *Is the number right?* Compare with the diagonal. *Is the order right?* That is what a
# search needs, and the rank correlation says it: 1 is the same order, 0 an unrelated one.


# %%
def ranks(values):
    return torch.as_tensor(values).argsort().argsort().double()


measured = [m.measured_ms for m in whole]
ratio = statistics.median(m / p for m, p in zip(measured, sums))
rho = torch.corrcoef(torch.stack([ranks(sums), ranks(measured)]))[0, 1]
print(f"the whole takes {ratio:.2f} times the sum of its parts, typically")
print(f"rank correlation of {len(some)} networks: {rho:.2f}")

# %% [markdown]
# Where the ratio is not 1, the parts met other conditions alone than together: what is left in the caches, what the
# runtime fuses, what a call costs. A constant factor would not matter for choosing; an order that differs does. So
# search with the table, and **measure what you have chosen**, end to end, before you believe it. Notebook 07 does.
#
# So few networks say little. Each recorded table was held against 60 or more (on the GPU below 16 to 20), timed whole
# while nothing else ran, and then timed *again*: no measurement is surer than that. Beside it stand the plain sum, and
# three models fitted to as many other networks: the sum times a factor plus a constant, a ridge regression on the op
# weights (the paper's own table), and a correction of the sum for pairs of neighbours:

# %% tags=["keep_output"]
names = [name for name in lk.latency.shipped_tables() if name.startswith("cpu-amd")]
beside = {name.split("/")[1]: {s.name: s for s in lk.latency.additivity.recorded(name)} for name in names}
predictors = ["measured again", "sum of parts", "scaled sum", "ridge", "table and pairs"]
within = {name: [of[kind].within_10 for kind in predictors] for name, of in beside.items()}
columns = [kind.replace(" ", "\n") for kind in predictors]
ax = lk.plots.shares(within, columns, "networks within 10 % of the measured latency (%)", wide=0.8)
lk.plots.picture(ax, "Share of networks predicted within 10 %, five ways, for the eight recorded tables of one CPU.")

# %%
gpu = "gpu-nvidia-h200"
graphs = [f"{s}-torch-cuda-graph-b{n}" for s in ("five_layer", "mobile-tiny") for n in (1, 64)]
beside |= {name: {s.name: s for s in lk.latency.additivity.recorded(f"{gpu}/{name}")} for name in graphs}
for name, of in beside.items():
    sums, counts = (of[kind].spearman for kind in ("sum of parts", "multiply-accumulates"))
    print(f"{name:32} rank correlation: sum of parts {sums:5.2f}, multiply-accumulates {counts:5.2f}")

# %% [markdown]
# **What to notice.** Where a plain sum is off, it is off by much the same factor everywhere: two numbers mend most of
# that. The best model of each row comes about as near as measuring again does: what is left is the machine. (How can a
# model be *better*? It learnt from many measurements, and their errors cancel.) And the count of operations, a popular
# stand-in for latency, orders these networks well in one runtime, and badly or even backwards in another.
#
# The last four rows are of a GPU, an H200, with all kernels of a pass launched as one (a *CUDA graph*). Its sums of
# parts order networks as well as measuring again does, but not at the first attempt: a part alone is over in three to
# twenty-five millionths of a second, often sooner than the next can be launched, and the stopwatch had timed the
# launching. The sums then ordered networks clearly worse. Now a part is timed 32 times over in one graph. Trap 3
# again: *what* was timed?
#
# ## Another runtime, another order
#
# Three uniform architectures: 5×5, 3×3 and max pooling everywhere. Pooling needs the fewest operations by far. Tables
# recorded on one machine, by eager PyTorch and by ONNX Runtime, for one image and for 32; then one of another CPU, and
# one of a GPU:

# %% tags=["predict"]
lk.course.predict(
    "p4.3",
    "Eager PyTorch, a batch of 32 images, CPU: which of the three is the slowest?",
    ["5x5 convolutions", "3x3 convolutions", "max pooling"],
)

# %%
kinds = {"torch, batch 1": "torch-b1", "torch, batch 32": "torch-b32"}
kinds |= {"onnxruntime, batch 1": "onnxruntime-b1", "onnxruntime, batch 32": "onnxruntime-b32"}
recorded = {name: lk.LatencyTable.load(f"five_layer-{kind}") for name, kind in kinds.items()}
recorded["onnxruntime, batch 1, Xeon"] = lk.LatencyTable.load("cpu-intel-xeon-2-cores/five_layer-onnxruntime-b1")
recorded["CUDA graph, batch 1, H200"] = lk.LatencyTable.load(f"{gpu}/five_layer-torch-cuda-graph-b1")
everywhere = {
    name: {op: entry.table_ms(space.architecture([op] * 5)) for op in space.slots[0]}
    for name, entry in recorded.items()
}
for name, times in everywhere.items():
    print(f"{name:26}", "  ".join(f"{op} {ms:6.3f} ms" for op, ms in times.items()), "(recorded)")
times = everywhere["torch, batch 32"]
lk.course.reveal("p4.3", f"{max(times, key=times.get)}, by the recorded table")

# %% tags=["keep_output"]
every = {name: [entry.table_ms(a) for a in space] for name, entry in recorded.items()}
ax = lk.plots.agreement(every)
lk.plots.picture(ax, "Rank correlation of six recorded tables over the 243 architectures.")

# %% [markdown]
# The same 243 architectures on the same machine, and their order depends on who runs them and on how many images come
# at once. Where the correlation is low, what one table chooses is a bad choice by the other. The runtime and the batch
# are part of the hardware. (The fifth is the third again, on a processor of another make, and the sixth is a GPU. Which
# matters more here, the processor or the software on it?)
#
# ## Find two that change places
#
# Every line is an architecture, at its place under one table on the left and under another on the right. Drag A and B,
# or use the two sliders, which the arrow keys move. (5 and 3 are the convolutions, p is pooling.) Find
#
# 1. two architectures that swap between batch 1 and batch 32 of the *same* runtime;
# 2. two that swap between the runtimes at batch 1, and by as much as you can: the winner on the left should lose
#    clearly on the right;
# 3. an architecture that is near the top everywhere.

# %%
letters = {"conv5x5": "5", "conv3x3": "3", "maxpool3x3": "p"}
labels = ["".join(letters[op] for op in a.ops) for a in space]
reversals = lk.latency.rank_reversals(recorded, list(space), labels)
for left, right in ((0, 1), (2, 3), (0, 2), (1, 3), (2, 4), (2, 5)):
    names = " and ".join(reversals.sides[i].name for i in (left, right))
    print(f"{names}: {reversals.share(left, right):4.0%} of all pairs swap")

# %% tags=["widget"]
explorer = lk.widgets.ReversalExplorer(reversals)
explorer

# %% [markdown]
# What you dragged is in Python too. This cell takes your pair, if it swaps, or else the pair that swaps by most between
# the two sides that you chose:

# %%
a, b = (explorer.a, explorer.b) if explorer.swapped else reversals.widest(explorer.left, explorer.right)
print(f"A {labels[a]}, B {labels[b]}")
for i in (explorer.left, explorer.right):
    side = reversals.sides[i]
    print(f"  {side.name:26} A {side.ms[a]:.3f} ms, B {side.ms[b]:.3f} ms (recorded)")
print(reversals.words(explorer.left, explorer.right, a, b))

# %% [markdown]
# Suppose the deadline lies between the two. Whoever searched with the left table deploys the one that it calls fast,
# and misses the deadline on the right. Nothing in the *search* was wrong.
#
# The reason is in the parts. The heat map measured above has three rows; here are those of the recorded tables. Choose
# one and look for (1) a layer where pooling is dearer than a convolution and (2) one where 5×5 is cheaper than 3×3.

# %% tags=["widget"]
lk.widgets.switch(
    "table",
    recorded,
    lambda entry: lk.plots.latency_table(entry),
    alt=lambda entry: f"Milliseconds that each candidate adds in each layer; {entry.card}.",
)

# %% [markdown]
# May the recorded tables be compared with the one measured above? Their cards know:

# %%
for name, entry in recorded.items():
    different = ", ".join(entry.card.differences(table.card)) or "nothing"
    print(f"{name:26} differs from the table measured here in: {different}")

# %% [markdown]
# ## A common wrong idea
#
# *"Latency is a property of the network, and the operation count tells it."* The figure of the tables is the answer:
# one network, a latency in each, and not even their order is common. An operation count has no runtime in it, so it
# cannot tell them apart.
#
# ## What you take with you
#
# - **O4.1** Warm up, wait for the device, time blocks, keep best, median and spread, and write down batch, threads and
#   caches: those have no right value, only a stated one.
# - **O4.2** A latency without its card is not a measurement. Unlike cards do not compare.
# - **O4.3** A table adds up parts and is linear in the op weights: fast, differentiable, and a model. Measure the
#   winner.
# - **O4.4** Runtime and batch change the order of architectures. Search with the table of what you will deploy on.
#
# **Next:** [05 the search](05_search.ipynb) puts this table beside the supernet's error and lets a gradient choose.
#
# **References.** Vahdat et al., *UNAS*, CVPR 2020, arXiv 1912.07651 (a linear latency model as the control of a
# measured latency). Cai, Zhu, Han, *ProxylessNAS*, ICLR 2019, arXiv 1812.00332 (tables of parts). Zhang et al.,
# *nn-Meter*, MobiSys 2021, and Dudziak et al., *BRP-NAS*, NeurIPS 2020, arXiv 2007.08859 (where adding up fails, and
# what to do). Li et al., *HW-NAS-Bench*, ICLR 2021, arXiv 2103.10584 (latencies of whole spaces on several devices).
