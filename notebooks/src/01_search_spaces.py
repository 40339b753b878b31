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
# # 01. How many networks do five choices make?
#
# Before anything can be searched somebody has to say *what may be chosen*. That list of choices is the search space.
# It decides what can be found at all, and it grows faster than anyone expects.
#
# **Time** about 35 minutes, 10 of them for the two exercises. **Before this** [00 start here](00_start_here.ipynb);
# what a convolution is.

# %% [markdown] tags=["objectives"]
# You will
#
# - **O1.1** *describe* a search space as slots and candidates, and *compute* its size;
# - **O1.2** *translate* an architecture between its names and its op weights;
# - **O1.3** *count* the parameters and the work of an architecture from its parts, and say why the two disagree;
# - **O1.4** *move* in a space too large to list: at random, and from neighbour to neighbour.

# %% tags=["parameters"]
FAST = True  # counts 31 of the 243 networks one by one; False: all of them
SEED = 0  # of the random architectures

# %% tags=["setup"]
import math

import torch

import labkit as lk

lk.course.start("01", seed=SEED)

# %% [markdown]
# ## A network is a list of decisions
#
# The course's small space has five layers. In each one *operation* is chosen: a 5×5 convolution, a 3×3 convolution or
# 3×3 max pooling. Such a decision is a **slot**, what may fill it are its **candidates**, and one candidate for every
# slot is an **architecture**. Everything else is fixed: a first convolution (the stem), two average poolings, a linear
# layer at the end (the head).

# %%
space = lk.spaces.five_layer()
for edge, (height, width) in zip(space.edges, space.sizes()):
    what = edge.fixed or f"slot {edge.slot}: one of {', '.join(space.slots[edge.slot])}"
    print(f"{height:2} x {width:2} pixels, {edge.in_channels:2} -> {edge.out_channels} channels   {what}")
height, width = space.sizes()[-1]
print(f"then {height} x {width} pixels go to the head, for {space.classes} classes")

# %% [markdown]
# An architecture is written as its candidates' names, first layer first. Names, not numbers: you will see below why.

# %% tags=["keep_output"]
named = {
    "all 5×5": space.architecture(["conv5x5"] * 5),
    "all pooling": space.architecture(["maxpool3x3"] * 5),
    "large kernels first": space.architecture("conv5x5-conv5x5-conv3x3-conv3x3-maxpool3x3"),
    "large kernels last": space.architecture("maxpool3x3-conv3x3-conv3x3-conv5x5-conv5x5"),
}
lk.plots.picture(lk.plots.strip(named, space), "Four architectures, a row each: the candidate in every layer.")

# %% [markdown]
# ## How many are there?
#
# A larger space, `mobile-tiny`, has the shape of those that networks for phones come from: eight slots of MobileNetV2
# blocks, and in five slots the option to skip the layer. `mb5e6` is a block with a 5×5 kernel that is 6 times as wide
# inside as outside. (Slots are counted from 0, as Python does; figures say "layer 1" for slot 0.)

# %%
mobile = lk.spaces.mobile("tiny")
for s, slot in enumerate(mobile.slots):
    print(f"slot {s}: {len(slot)} candidates: {', '.join(slot)}")

# %% tags=["predict"]
lk.course.predict(
    "p1.1",
    "Three slots of 6 candidates and five of 7. How many architectures is that?",
    ["53", "about 20,000", "about 400,000", "about 4 million"],
)

# %% [markdown]
# ### Exercise e1.1: the size of a space (O1.1)
#
# Write `size`: how many architectures there are with these slots. A slot is a tuple of names; slots may differ in
# length.


# %% tags=["exercise"]
def size(slots):
    """The number of ways to take one candidate from each slot."""
    # stub: return None
    # solution
    return math.prod(len(slot) for slot in slots)
    # end solution


# %% tags=["check"]
lk.course.check("e1.1", size)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>With one slot of 3 candidates there are 3. Each of them goes with each candidate of
# a second slot. So with two slots there are …</details>
# <details><summary>Hint 2</summary>One factor a slot, the number of its candidates. <code>math.prod</code> multiplies
# what it is given.</details>
# <details><summary>Hint 3</summary><code>math.prod(len(slot) for slot in slots)</code></details>

# %%
print(f"five_layer: {space.size}, mobile-tiny: {mobile.size:,}")
lk.course.reveal("p1.1", f"{mobile.size:,}, or 6 * 6 * 6 * 7 * 7 * 7 * 7 * 7")

# %% [markdown]
# A product grows exponentially with the number of slots. Here are spaces from published work, with two things to
# measure them by. (The last has two kinds of cell, each of four nodes; node *i* takes two inputs from *i* + 2 earlier
# results, and an operation of 7 on each.)

# %% tags=["keep_output"]
cell = math.prod((i + 2) ** 2 * 7**2 for i in range(4))
known = {
    "five_layer (this course)": space.size,
    "NAS-Bench-Macro": 3**8,
    "NAS-Bench-201": 5**6,
    "mobile-tiny (this course)": mobile.size,
    "ProxylessNAS chain, 21 layers": 7**15 * 6**6,
    "pair of DARTS cells, in UNAS": cell**2,
}
yardsticks = {"one a second for a year": 365 * 86_400, "one a second since the Big Bang": 4.4e17}
ax = lk.plots.sizes(known, yardsticks)
lk.plots.picture(ax, "Sizes of six search spaces on a logarithmic axis, from 243 to more than 10 to the 21.")

# %% [markdown]
# **What to notice.** Only the small ones can be tried out whole, and that is why this course has a small one: there
# the right answer can be known. Everywhere else a search sees a vanishing part of the space, and has to be told where
# to look next. That takes a sense of *direction*, and so numbers in place of names.
#
# (The last two can be searched here too, as `lk.spaces.mobile("full")` and `lk.spaces.cells("cifar")`; that takes
# days on a GPU, not minutes on a laptop. `lk.spaces.cells("tiny")` is a small sister of the last.)
#
# ## From names to numbers
#
# An architecture as numbers is a matrix of **op weights**, S slots by K candidates, with a 1 where the candidate is
# chosen: *one-hot*. By hand, then by name:

# %%
architecture = named["large kernels first"]
by_hand = torch.zeros(5, 3)
for s, name in enumerate(architecture.ops):
    by_hand[s, space.slots[s].index(name)] = 1

assert torch.equal(by_hand, space.encode(architecture))
assert space.decode(by_hand) == architecture
print(architecture, by_hand.int(), sep="\n")

# %% [markdown]
# `decode` takes the largest weight of each row. So it also turns weights that are *not* one-hot into an architecture,
# which is how a search by gradient ends:

# %%
undecided = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5]])
print(space.decode(undecided))

# %% [markdown]
# Where candidates differ in number (`mobile-tiny`), the matrix is as wide as the longest slot, and `space.mask` says
# which places are real.
#
# ## What an architecture costs: parameters and work
#
# A k×k convolution from C to C channels has k·k·C·C weights, and its batch norm 2·C more. It is applied at every
# pixel, so its **work**, in multiply-adds, is the number of weights times the number of pixels.

# %% tags=["predict"]
lk.course.predict(
    "p1.2",
    "5×5 convolutions in layers 1 and 5 have the same channels, so the same parameters. Their work?",
    ["The same", "Layer 1 does 4 times as much", "Layer 1 does 16 times as much", "Layer 5 does more"],
)

# %%
from labkit.networks.supernet import operation

sides = {edge.slot: height for edge, (height, _) in zip(space.edges, space.sizes()) if edge.slot is not None}
edges = {edge.slot: edge for edge in space.edges if edge.slot is not None}
parameters, work = torch.zeros(5, 3), torch.zeros(5, 3)  # a table each: what a candidate adds in a slot
for s in range(5):
    for k, (name, kernel) in enumerate({"conv5x5": 5, "conv3x3": 3, "maxpool3x3": 0}.items()):
        parameters[s, k] = kernel * kernel * 16 * 16 + 2 * 16 * (kernel > 0)
        work[s, k] = kernel * kernel * 16 * 16 * sides[s] ** 2
        assert parameters[s, k] == sum(p.numel() for p in operation(name, edges[s]).parameters())
print("parameters, a row a layer:", parameters.int(), "multiply-adds:", work.int(), sep="\n")
lk.course.reveal("p1.2", f"layer 1 does {work[0, 0] / work[4, 0]:.0f} times as much, on 16 times the pixels")

# %% [markdown]
# Now the sum over an architecture's layers is the sum of *op weights times table*. Together with what is fixed that
# must be the parameters of the network itself:

# %%
everything = list(space)  # all 243
weights = torch.stack([space.encode(architecture) for architecture in everything])  # (243, S, K)
added = (weights * parameters).sum((1, 2))
count = lambda network: sum(p.numel() for p in network.parameters())
fixed = count(lk.derive(space, named["all pooling"]))  # pooling has no parameters
for i in range(0, 243, 8 if FAST else 1):
    assert added[i] + fixed == count(lk.derive(space, everything[i]))
print(f"stem and head have {fixed} parameters; architectures from {fixed} to {int(added.max()) + fixed}")

# %% [markdown]
# Keep the form of that line: a cost that is a sum over layers is *linear in the op weights*. It then has a value for
# undecided weights too, and a gradient. Notebook 04 gives latency this form, and notebook 05 uses the gradient.
#
# Are parameters a good stand-in for work?

# %% tags=["keep_output"]
millions = (weights * work).sum((1, 2)) / 1e6
at = lambda a: (added[everything.index(a)].item() / 1e3, millions[everything.index(a)].item())
ax = lk.plots.cloud(
    (added / 1e3).tolist(),
    millions.tolist(),
    ("parameters of the searched layers (thousands)", "work of the searched layers\n(million multiply-adds)"),
    {name: at(a) for name, a in named.items() if "large" in name},
)
lk.plots.picture(ax, "Parameters against work of all 243: equal parameters, and very different work.")

# %% [markdown]
# **What to notice.** The two marked networks have exactly the same number of parameters, and one does about three
# times the work of the other: it has its large kernels where there are many pixels. Neither count is *time*. Pooling
# does no multiply-adds at all, and still takes time, sometimes the most (notebook 04).
#
# With the control below, find two architectures with the same parameters whose work differs most. A letter stands for
# a layer: 5 and 3 are the convolutions, p is pooling.

# %% tags=["widget"]
ways = ("55555", "33333", "55ppp", "p55pp", "pp55p", "ppp55", "pp335", "533pp")
full = {"5": "conv5x5", "3": "conv3x3", "p": "maxpool3x3"}
options = {way: space.architecture(full[letter] for letter in way) for way in ways}


def show(a):
    top, ax = lk.plots.grid_of_axes(2, 1, width=6.5, height=4, height_ratios=(1, 8))[:, 0]
    lk.plots.strip({"": a}, space, top)
    labels = ("parameters of the searched layers (thousands)", "million multiply-adds")
    lk.plots.cloud((added / 1e3).tolist(), millions.tolist(), labels, {"this one": at(a)}, ax)
    return ax


alt = lambda a: f"{a}: {at(a)[0]:.1f} thousand parameters, {at(a)[1]:.2f} million multiply-adds"
lk.widgets.switch("architecture", options, show, alt=alt)

# %% [markdown]
# Without the control: the four with two 5×5 convolutions have 12.9 thousand parameters each; `55ppp` does 3.3 million
# multiply-adds and `ppp55` about 0.5 million.
#
# ## Moving in a space that cannot be listed
#
# The first way to move is at random: `space.sample` draws architectures, each candidate with the same probability.

# %%
drawn = mobile.sample(1_000, torch.Generator().manual_seed(SEED))
kept = [sum(op != "skip" for op in a.ops) for a in drawn]
print(f"1,000 draws, {len(set(drawn)):,} different; the first: {drawn[0]}")
for layers in range(min(kept), 9):
    print(f"{layers} layers kept: {kept.count(layers):4}")

# %% [markdown]
# A uniform draw is not an even view of the space: networks with nearly all layers are common, with only four or so
# rare, and those with three are one in $7^5$. A baseline of random architectures says little about the corners.
#
# The second way is in steps. A **neighbour** of an architecture differs from it in exactly one slot.
#
# ### Exercise e1.2: neighbours (O1.4)
#
# Write `neighbours`: the list of all of them. `architecture.ops` is a tuple of names, `space.slots[s]` are the
# candidates of slot s, and `space.architecture(names)` makes an architecture of names.


# %% tags=["exercise"]
def neighbours(space, architecture):
    """Every architecture of `space` that differs from `architecture` in exactly one slot."""
    # stub: return None
    # solution
    found = []
    for s, slot in enumerate(space.slots):
        for name in slot:
            if name != architecture.ops[s]:
                found.append(space.architecture([*architecture.ops[:s], name, *architecture.ops[s + 1 :]]))
    return found
    # end solution


# %% tags=["check"]
lk.course.check("e1.2", neighbours)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>Two loops: over the slots, and in each over its candidates. Leave out the candidate
# that the slot has now.</details>
# <details><summary>Hint 2</summary>Start from the given names for every change: <code>names =
# list(architecture.ops)</code> inside the inner loop, then <code>names[s] = name</code>.</details>
# <details><summary>Hint 3</summary>Inside the loops: <code>if name != architecture.ops[s]: names =
# list(architecture.ops); names[s] = name; found.append(space.architecture(names))</code>. Return <code>found</code>
# after both.</details>

# %% [markdown]
# Stuck or not, here is what neighbours are good for (in one line, which you may compare with yours). Start anywhere
# and always step to the neighbour with the least work:

# %%
near = lambda a: [b for b in space if sum(x != y for x, y in zip(a.ops, b.ops)) == 1]
(here,) = space.sample(1, torch.Generator().manual_seed(SEED))
while True:
    print(f"{at(here)[1]:5.2f} million multiply-adds   {here}")
    best = min(near(here), key=lambda a: at(a)[1])
    if at(best)[1] >= at(here)[1]:
        break
    here = best

# %% [markdown]
# It ends at all pooling, the least work there is. On a cost that is a sum over layers, walking downhill always finds
# the bottom: no slot's best candidate depends on another slot. The error of a network is no such sum. There the walk
# may stop in a hollow, and each step would need ten trained networks. The next notebooks replace them by a gradient.
#
# ## A common wrong idea
#
# *"An architecture is a list of indices, [0, 0, 1, 1, 2]."* Only together with a list of candidates in exactly that
# order. Whoever sorts the list, or puts a new candidate in front, changes every saved result without a word:

# %% tags=["keep_output", "nbval-check-output"]
indices = [0, 0, 1, 1, 2]
for candidates in (("conv5x5", "conv3x3", "maxpool3x3"), ("conv3x3", "conv5x5", "maxpool3x3")):
    print(indices, "means", "-".join(candidates[i] for i in indices))

# %% [markdown]
# Names cannot go wrong in this way, and a table made for another space is refused: `space.digest` names this exact
# one.
#
# ## What you take with you
#
# - **O1.1** A space is slots with candidates; its size is the product of their numbers and grows exponentially.
# - **O1.2** An architecture is a tuple of names, or one-hot op weights (S, K); `decode` takes the largest of each row.
# - **O1.3** Parameters and work are sums over layers, linear in the op weights. At equal parameters the work differs
#   by where the pixels are, and neither is time.
# - **O1.4** Random draws see the bulk of a space, neighbours lead step by step. Both need a cost for every
#   architecture.
#
# **Next:** [02 the supernet](02_supernet.ipynb) gets a cost for all 243 networks by training one.
#
# **References.** Cai, Zhu, Han 2019 (ProxylessNAS). Liu, Simonyan, Yang 2019 (DARTS). Dong, Yang 2020 (NAS-Bench-201).
# Su et al. 2021 (NAS-Bench-Macro). Sandler et al. 2018 (MobileNetV2's block). Vahdat et al. 2020 (UNAS).
