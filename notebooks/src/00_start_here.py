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
# # 00. Which network should this device run?
#
# A camera on a machine has half a millisecond for each picture. There are many networks that could look at it: some
# accurate, some fast. Which one? This course answers in two steps: **choose an architecture for a device by gradient,
# and prove on a stopwatch that it was the right choice.** Here is the whole way, in miniature:
#
# ```
#          ┌─► supernet ──────► errors ────┐
#  space ──┤                               ├─► search ─► frontier ─► choice
#          └─► latency table ─► latencies ─┘                           │
#                                              stopwatch ◄─ train ◄────┘
# ```
#
# **Time** about 30 minutes, 10 of them for the two exercises. **Before this** Python, and having trained a small
# network once. Nothing is downloaded, and a laptop without a GPU is enough.

# %% [markdown] tags=["objectives"]
# You will
#
# - **O0.1** *name* the parts of a search (space, supernet, latency table, search, frontier) and what goes in and out;
# - **O0.2** *choose* a network from many, by a deadline and by a price for latency;
# - **O0.3** *close the loop* once: derive a network, train it, time it, and *compare* that with what was believed;
# - **O0.4** *find your way*: what a number's label means, and which notebook answers which question.

# %% tags=["parameters"]
FAST = True  # trains the chosen network for 4 short epochs; False: for 6 on 10,000 images
SEED = 0  # of images, first weights and training

# %% [markdown]
# ## This machine
#
# Every notebook begins with a cell like this one. It says where you are.

# %% tags=["setup"]
import labkit as lk

lk.course.start("00", seed=SEED)
for runtime in lk.runtimes.runtimes():
    print(f"{runtime.name:24} {runtime.version if runtime.available else 'not here: ' + runtime.reason}")

# %% [markdown]
# A *runtime* is what runs a trained network. What is missing here is left out below, and nothing depends on it.
#
# ## The task: ten letters
#
# The pictures are *glyphs*: letters from A to J in many fonts, turned, coloured and noisy. They are made from the
# seed, so they are the same for everybody.

# %%
data = lk.data.glyphs(*((3_000, 600, 1_000) if FAST else (10_000, 2_000, 10_000)), seed=SEED)
lk.plots.picture(lk.plots.images(data.train, data.classes), "Twelve glyphs: coloured, noisy letters from A to J.")

# %% [markdown]
# ## The choice: five layers, three operations
#
# The networks in question have five layers, and in each of them a 5×5 convolution, a 3×3 convolution or 3×3 max
# pooling. A list of five names is an **architecture**; all of them together are the **search space**.

# %% tags=["keep_output", "nbval-check-output"]
space = lk.spaces.five_layer()
print(f"{len(space)} architectures, 3 * 3 * 3 * 3 * 3; the first is {next(iter(space))}")

# %% [markdown]
# Each has two **costs**: how often it errs, and how long it takes. Both were found out before, and are loaded here:
#
# - the *errors* come from a **supernet**, one network that holds all 243 and shares its weights among them. So they
#   are larger than those of networks trained one by one. What counts is which are smaller than others (notebook 02);
# - the *latencies* come from a **table** that adds up the times of the layers (notebook 04).

# %%
study = lk.benches.study.load_study("five_layer-glyphs")
print(f"recorded {study.made['date']}: {len(study.points)} architectures on {study.data['name']}")
print(f"errors on validation images, shared weights; latencies: {study.table.card}")

# %% [markdown]
# Note the word *recorded*. Every number in this course says where it is from:
#
# | word | meaning |
# | --- | --- |
# | **measured** | here and now, on your machine |
# | **recorded** | read from a file: another day, perhaps another machine |
# | **predicted** | made by a model or a sum, not by a clock |

# %% tags=["predict"]
lk.course.predict(
    "p0.1",
    "Leave out each architecture that another one beats (faster and no less accurate, or the reverse). How many stay?",
    ["About 15", "About 50", "About 120", "Nearly all"],
)

# %% tags=["keep_output"]
lk.plots.study(study)

# %%
worthwhile = list(study.frontier)
lk.course.reveal("p0.1", f"{len(worthwhile)} of {len(study.points)} stay; they are the frontier")
for point in worthwhile:
    print(f"{point.latency_ms:.3f} ms  error {point.error:5.1%}  {point.architecture}")

# %% [markdown]
# **What to notice.** A dot is an architecture, and down and left is better. Most dots are beaten by another one. The
# line is the **frontier**: on it you can get faster only by erring more. No network on it is *the best*. Which one is
# right depends on what you need, and that is a decision. Two ways to make it:
#
# ## By a deadline
#
# ### Exercise e0.1: within the budget (O0.2)
#
# Write `within`: of `points`, the one with the smallest error that takes at most `max_ms`. A point has `.error` and
# `.latency_ms`. Of equal errors take the faster; if nothing is fast enough, return `None`.


# %% tags=["exercise"]
def within(points, max_ms):
    """The most accurate point that takes at most `max_ms` milliseconds, or None."""
    # stub: return None
    # solution
    fast_enough = [point for point in points if point.latency_ms <= max_ms]
    return min(fast_enough, key=lambda point: (point.error, point.latency_ms), default=None)
    # end solution


# %% tags=["check"]
lk.course.check("e0.1", within)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>Two steps: keep the points that are fast enough, then take the one with the
# smallest error.</details>
# <details><summary>Hint 2</summary><code>min(points, key=lambda point: ...)</code> finds the smallest; the key may be
# a tuple, which compares its first part first. <code>default=None</code> is for an empty list.</details>
# <details><summary>Hint 3</summary><code>fast_enough = [point for point in points if point.latency_ms <=
# max_ms]</code>, then <code>min(fast_enough, key=lambda point: (point.error, point.latency_ms),
# default=None)</code></details>

# %% [markdown]
# By name it is `frontier.best`. A deadline half-way along the frontier:

# %%
deadline = (worthwhile[0].latency_ms + worthwhile[-1].latency_ms) / 2
choice = study.frontier.best(max_ms=deadline)
print(f"deadline {deadline:.3f} ms: {choice.architecture}")
print(f"{choice.latency_ms:.3f} ms (table, recorded), error {choice.error:.1%} (shared weights)")

# %% [markdown]
# ## By a price
#
# Often there is no deadline, only a feeling that faster is better. Put a price on it: the **latency weight** says how
# much error you would accept to be one millisecond faster. At 0.1 a millisecond is worth 0.1 of error, ten points.
# Then all costs add up to one:
#
# > total cost = error + latency weight × milliseconds
#
# ### Exercise e0.2: the cheapest (O0.2)
#
# Write `cheapest`: the point with the smallest total cost. Of equal totals take the faster.


# %% tags=["exercise"]
def cheapest(points, latency_weight):
    """The point with the smallest error + latency_weight * latency_ms, the faster one of equals."""
    # stub: return None
    # solution
    return min(points, key=lambda point: (point.error + latency_weight * point.latency_ms, point.latency_ms))
    # end solution


# %% tags=["check"]
lk.course.check("e0.2", cheapest)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>As in e0.1, <code>min</code> with a key. Nothing is left out this time.</details>
# <details><summary>Hint 2</summary>The key is a tuple again: the total cost of a point, then its latency.</details>
# <details><summary>Hint 3</summary><code>min(points, key=lambda point: (point.error + latency_weight *
# point.latency_ms, point.latency_ms))</code></details>

# %% [markdown]
# The picture shows one weight: the choice ringed on the frontier, and below what each of its layers takes.


# %% tags=["keep_output"]
def best_at(weight):
    return min(study.points, key=lambda p: (p.error + weight * p.latency_ms, p.latency_ms))


def show(weight):
    chosen = best_at(weight)
    upper, lower = lk.plots.grid_of_axes(2, 1, width=7.2, height=6)[:, 0]
    lk.plots.frontier(study.points, chosen={f"weight {weight:g}": chosen}, ax=upper)
    lk.plots.layer_latency(study.table, {"the choice": chosen.architecture}, ax=lower)
    return upper


alt = lambda w: f"The choice at latency weight {w:g}, ringed on the frontier, and the latency of its five layers."
lk.plots.picture(show(0.1), alt(0.1))

# %% [markdown]
# Now change the weight. Find the weight at which the first layer changes, and look how many different networks the
# weights can choose at all. Is every point of the frontier among them?

# %% tags=["widget"]
weights = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
lk.widgets.switch("latency weight (error per ms)", weights, show, value=0.1, alt=alt)

# %%
for weight in weights:
    point = best_at(weight)
    print(f"weight {weight:<5} {point.latency_ms:.3f} ms  error {point.error:5.1%}  {point.architecture}")

# %% [markdown]
# **What to notice.** A small weight buys accuracy, a large one speed. And some points of a frontier are, as a rule,
# chosen by no weight at all: notebook 06 shows why, and what to do about it.
#
# ## By gradient
#
# We could choose because all 243 were known. Usually the space has $10^{17}$ architectures and nothing is known. The
# search of this course then moves *probabilities*: it draws an architecture, sees how it does, and makes good ones
# more likely, along a gradient (notebooks 03 and 05). For the recorded study it ran once a weight, without ever seeing
# the dots above. How much worse is what it found than the best of all 243?

# %%
for weight, pick in study.picks:
    total = lambda p, w=weight: p.error + w * p.latency_ms
    regret = total(pick) - min(map(total, study.points))
    better = sum(total(p) < total(pick) for p in study.points)
    print(f"weight {weight:<5} {pick.architecture}  regret {regret:.3f}, {better} are better")

# %% [markdown]
# The **regret** is how much more a choice costs than the best one, in error fraction. You see a search that comes near
# the best without looking at everything, and that need not hit it. How near, how reliably, and whether random trying
# would have done as well, is notebook 05.
#
# ## Close the loop
#
# So far everything was recorded. Take the choice for the deadline, train it here from fresh weights, and put it on the
# stopwatch.

# %%
network = lk.derive(space, choice.architecture, seed=SEED)
recipe = lk.TrainConfig(epochs=4, batch_size=64, seed=SEED) if FAST else lk.TrainConfig(seed=SEED)
for record in lk.train(network, data, recipe):
    print(f"epoch {record['epoch'] + 1}: validation error {record['valid_error']:.1%}")
print(f"test error {lk.error(network, data.test):.1%} (measured, {len(data.test):,} images)")

# %%
card = study.table.card
(stopwatch,) = lk.measure([network], lk.TimingConditions(runtime=card.runtime, batch_size=card.batch_size))
print(f"believed {choice.latency_ms:.3f} ms   {card}")
print(f"measured {stopwatch.measured_ms:.3f} ms   {stopwatch.card}")
print("conditions that differ:", ", ".join(card.differences(stopwatch.card)) or "none")

# %% [markdown]
# **What to notice.** The table was made under other conditions than those of this minute: perhaps on another machine,
# with other versions, with more threads. So the two numbers need not agree, and the *cards* beside them say why. On
# your own device you would measure a table first; that takes some minutes (notebook 04), and then the loop closes
# (notebook 07).
#
# ## A common wrong idea
#
# *"A fast network is fast everywhere."* Here are the same 243 errors with the latencies of four other recorded tables:

# %%
mine = {point.architecture for point in worthwhile}
for name in ("torch-b1", "torch-b32", "onnxruntime-b1", "onnxruntime-b32"):
    other = lk.LatencyTable.load(f"five_layer-{name}")
    moved = lk.Frontier.of(lk.Point(p.architecture, p.error, other.table_ms(p.architecture)) for p in study.points)
    theirs = {point.architecture for point in moved}
    print(f"{name:16} {len(theirs):2} on its frontier, {len(theirs & mine):2} of them on the one above")

# %% [markdown]
# Another processor of the same kind changes little (the first row); another runtime or another batch size, and other
# networks are worth having. Hardware-aware means: aware of *this* hardware, with *this* software on it.
#
# ## Where to find what
#
# | notebook | question | you leave with |
# | --- | --- | --- |
# | 00 | Which network should this device run? | the whole way in miniature |
# | [01](01_search_spaces.ipynb) | How many networks do five choices make? | slots, candidates, op weights |
# | [02](02_supernet.ipynb) | How can one network be 243 networks? | shared weights, and an error for each of 243 |
# | [03](03_estimators.ipynb) | How do you differentiate a choice? | the UNAS gradient, and its baselines |
# | [04](04_latency.ipynb) | How long does a network really take? | a stopwatch and a table to believe in |
# | [05](05_search.ipynb) | Can a gradient choose a network? | a search, and what it is worth |
# | [06](06_frontier.ipynb) | Which networks are worth having? | weight, target and deadline |
# | [07](07_deploy.ipynb) | Does the chosen network keep its promise? | a trained network in ONNX, timed |
#
# Each can be opened on its own. For two and a half hours take 00, 03, 05 and 06, and read the ends of 02 and 04 first.
#
# ## Words
#
# One word for one thing, in all notebooks:
#
# | word | meaning |
# | --- | --- |
# | **slot**, **candidate** | a decision, and an operation that may fill it |
# | **architecture** | one candidate for every slot, as names |
# | **op weights** | numbers (S slots, K candidates): *one-hot* for an architecture, anything else is a *mixture* |
# | **supernet** | a network with all candidates in every slot, sharing its weights among all architectures |
# | **derived network** | the plain network of one architecture |
# | **logits**, **distribution** | what a search moves; their softmax is the probability of each candidate |
# | **cost** | what is minimised, smaller is better: error (a fraction), latency (ms), or their sum |
# | **latency weight** | the price of a millisecond, as error fraction per ms |
# | **estimator**, **control** | a way to estimate a gradient from draws; a differentiable stand-in that steadies it |
# | **table_ms**, **measured_ms** | a sum of parts; a whole network on the stopwatch |
# | **card** | the conditions of a measurement: device, runtime, versions, batch, threads, date |
# | **frontier** | the architectures that no other one beats |
# | **regret** | how much more a choice costs than the best one |
# | **point** | one hundredth of error: from 12 % to 13 % is a point (of a frontier: an architecture's two costs) |
# | **nat** | the unit of cross-entropy with the natural logarithm: guessing among ten costs 2.3 nats |
# | **sweep**, **policy** | one search for several latency weights; the distribution that it learns for each of them |

# %% [markdown]
# ## What you take with you
#
# - **O0.1** A space says what may be chosen, a supernet gives errors, a table gives latencies, a search moves
#   probabilities, and the frontier shows what is worth having.
# - **O0.2** A deadline picks the most accurate network within it; a latency weight picks the smallest total cost.
#   Neither is right in itself.
# - **O0.3** What a table believes is checked on a stopwatch, and their cards say whether the two compare.
# - **O0.4** Measured, recorded, predicted: look for the word before you use the number.
#
# **Next:** [01 search spaces](01_search_spaces.ipynb).
#
# **References.** The method and the five-layer example follow Vahdat, Mallya, Liu, Kautz, *UNAS: Differentiable
# Architecture Search Meets Reinforcement Learning*, CVPR 2020, arXiv 1912.07651, and NVIDIA's article on deploying its
# networks with TensorRT. Surveys: Elsken, Metzen, Hutter, JMLR 2019; Benmeziane et al. 2021 (hardware-aware search),
# arXiv 2101.09336.
