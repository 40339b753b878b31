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
# # 02. How can one network be 243 networks?
#
# To compare 243 architectures you could train 243 networks. The supernet is the short cut that nearly every modern
# search takes: one network that holds all candidates of all layers, trained once, from which each architecture is cut
# out with its weights in place. This notebook builds it, trains it, and then does what hardly anyone can: it compares
# the short cut with the exact answer, for all 243 networks *have* been trained, and the result came with the course.
#
# **Time** about 50 minutes, 15 of them for the two exercises. **Before this** [01 search
# spaces](01_search_spaces.ipynb); a training loop in PyTorch.

# %% [markdown] tags=["objectives"]
# You will
#
# - **O2.1** *write* a layer as the weighted sum of its candidates, and say what the op weights mean;
# - **O2.2** *show* that with one-hot op weights the supernet is exactly the derived network;
# - **O2.3** *train* shared weights, and say what gets them off the plateau of guessing;
# - **O2.4** *evaluate* architectures on shared weights without fooling yourself, and *measure* how far their order is
#   the true one.

# %% tags=["parameters"]
FAST = True  # 500 training steps; False: 1,400, and more images to learn from and to evaluate by
SEED = 0  # of the images, the first weights and every draw

# %% tags=["setup"]
import copy
import itertools
import math

import torch
import torch.nn.functional as F

import labkit as lk

lk.course.start("02", seed=SEED)
data = lk.data.hard_glyphs(*(4_000, 1_000, 500) if FAST else (), seed=SEED)  # to train on, to evaluate by, to test
MIXTURE, ONE_HOT = (200, 300) if FAST else (200, 1_200)  # training steps

# %% [markdown]
# ## The images
#
# *Hard glyphs*: ten letters that differ by a stroke (B and E and F, O and Q and D), in many fonts, coloured, turned by
# up to 50 degrees, with pieces of other letters at the edges. They are made on the spot from the seed, so nothing is
# downloaded. One in ten guesses is right. On easy letters all good networks are equally good, and nothing could be
# learnt from their order.

# %%
lk.plots.picture(lk.plots.images(data.train, data.classes), "Twelve hard glyphs: turned, among pieces of others.")

# %% [markdown]
# ## One layer: all candidates at once
#
# Instead of choosing between two operations, run both and add up their outputs, each times its **op weight**. By hand,
# then by name (`MixedOp` is what the supernet is made of):

# %%
from labkit.networks.supernet import MixedOp
from labkit.spaces import Edge

mixed = MixedOp(("conv3x3", "maxpool3x3"), Edge(3, 3, slot=0)).eval()
conv, pool = mixed.ops
x, _ = next(data.train.batches(4))  # four images, (4, 3, 32, 32)
by_hand = 0.3 * conv(x) + 0.7 * pool(x)

by_name = mixed(x, torch.tensor([[0.3, 0.7]]), active=[True, True], one_hot=False)
assert torch.allclose(by_hand, by_name)
print(f"{tuple(x.shape)} -> {tuple(by_name.shape)}, largest difference {(by_hand - by_name).abs().max():.0e}")

# %% [markdown]
# Op weights 0.3 and 0.7 are a *mixture*. Op weights 1 and 0 are a *choice*. In between there is a path without a jump:
# that is what makes a gradient possible (notebook 03).
#
# ### Exercise e2.1: the mixture (O2.1)
#
# Write it for any number of candidates, and with op weights of its own for each image: `weights` is (B, K) for B
# images and K candidates, and `ops[k](x)` is (B, C, H, W).


# %% tags=["exercise"]
def mixture(x, ops, weights):
    """(B, C, H, W): for each image the sum of the candidates' outputs, each times that image's op weight."""
    # stub: return None
    # solution
    return sum(weights[:, k, None, None, None] * op(x) for k, op in enumerate(ops))
    # end solution


# %% tags=["check"]
lk.course.check("e2.1", mixture)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>One summand a candidate. The op weights of candidate k, one an image, are
# <code>weights[:, k]</code>, of shape (B,).</details>
# <details><summary>Hint 2</summary>(B,) cannot multiply (B, C, H, W). Give it three more axes: <code>weights[:, k,
# None, None, None]</code>.</details>
# <details><summary>Hint 3</summary><code>sum(weights[:, k, None, None, None] * op(x) for k, op in
# enumerate(ops))</code></details>

# %% [markdown]
# Go on in any case: the library's `MixedOp` does it from here.
#
# ## Five layers: the supernet
#
# The supernet has a `MixedOp` in every slot. Its forward pass takes images *and* op weights, (1, S, K) for all images
# alike.

# %%
space = lk.spaces.five_layer()
supernet = lk.Supernet(space, seed=SEED)
count = lambda network: sum(p.numel() for p in network.parameters())
apart = sum(count(lk.derive(space, architecture)) for architecture in space)
print(
    f"243 networks apart: {apart:,} parameters; together {count(supernet):,}, {apart / count(supernet):.0f} times fewer"
)

# %% [markdown]
# The saving is shared weights: the 5×5 convolution of layer 1 is *one* set of weights for all 81 architectures that
# use it there.
#
# `lk.derive(supernet, architecture)` cuts one network out. If the supernet runs with one-hot op weights, it must say
# exactly the same:

# %% tags=["keep_output", "nbval-check-output"]
supernet.eval()
x, _ = next(data.valid.batches(64))
worst = 0.0
for architecture in space.sample(20, torch.Generator().manual_seed(SEED)):
    one_hot = space.encode(architecture)[None]  # (1, S, K)
    with torch.no_grad():
        difference = supernet(x, one_hot) - lk.derive(supernet, architecture)(x)
    worst = max(worst, difference.abs().max().item())
assert worst == 0.0
print(f"20 architectures, 64 images, 10 class logits: largest difference {worst}")

# %% [markdown]
# Not nearly the same: the same to the last bit. So whatever is measured on the supernet with one-hot op weights *is*
# true of the derived network.
#
# ## What a pass costs

# %% tags=["predict"]
lk.course.predict(
    "p2.1",
    "The supernet has 15 candidate operations. How many run in a pass with one-hot op weights?",
    ["15, ten of them times zero", "5", "It depends on the architecture"],
)

# %%
ran = []  # one entry for every candidate operation that runs
for module in supernet.body:
    for op in module.ops if isinstance(module, MixedOp) else ():  # not the stem, not the poolings between
        op.register_forward_hook(lambda *_: ran.append(1))

uniform = torch.full((1, 5, 3), 1 / 3)
for label, weights in (("mixture", uniform), ("one-hot", one_hot)):
    ran.clear()
    with torch.no_grad():
        supernet(x, weights)
    print(f"{label}: {len(ran)} operations ran")
lk.course.reveal("p2.1", f"{len(ran)}, because a candidate with weight zero is left out")

# %% [markdown]
# A mixed pass costs about three networks, in time and in memory for its gradient; a one-hot pass costs one. Keep the
# two apart: the mixture has a gradient, the one-hot pass is the architecture itself.
#
# ## Training the shared weights
#
# A training step needs op weights. Two plans:
#
# - **one-hot**: draw a random architecture each step, and train its operations. It is what we want in the end, and it
#   is cheap;
# - **mixture**: all candidates at equal op weights, all trained in every step.


# %%
def train(supernet, op_weights, steps, rise=0, seed=SEED):
    """Losses of `steps` steps; `op_weights(generator)` makes the op weights (1, S, K) of each.

    The learning rate rises from 0 to 4e-3 over the first `rise` steps.
    """
    supernet.to(memory_format=torch.channels_last)  # the same weights, laid out so that training is sooner done
    generator = torch.Generator().manual_seed(seed)
    epochs = (data.train.batches(40, generator) for _ in itertools.count())
    optimizer = torch.optim.AdamW(supernet.parameters())
    losses = []
    for step, (x, y) in enumerate(itertools.islice(itertools.chain.from_iterable(epochs), steps), start=1):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1.0, step / max(1, rise))
        loss = F.cross_entropy(supernet.train()(x, op_weights(generator)), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


# %% tags=["predict"]
lk.course.predict(
    "p2.2",
    f"Both plans from the same first weights, the same images. After {2 * MIXTURE // 3} steps, which loss is lower?",
    ["One-hot: it trains what will be evaluated", "The mixture", "They are about equal: neither has learnt anything"],
)

# %%
dist = lk.ArchDistribution(space)  # uniform over the 243
mixture_weights = lambda generator: dist.probs().detach()[None]
random_one_hot = lambda generator: dist.sample(1, 1.0, generator).hard

plans = {"one-hot": random_one_hot, "mixture": mixture_weights}
plateau = {name: train(lk.Supernet(space, seed=SEED), weights, 2 * MIXTURE // 3) for name, weights in plans.items()}
mean = lambda losses: sum(losses[-20:]) / 20
for name, losses in plateau.items():
    print(f"{name:8} last 20 steps {mean(losses):.2f} nats; guessing {math.log(10):.2f}")
lower = min(plateau, key=lambda name: mean(plateau[name]))
left = mean(plateau[lower]) < math.log(10) - 0.1  # the plateau
lk.course.reveal("p2.2", f"{lower}, which has left the plateau" if left else "neither has learnt anything yet")

# %% [markdown]
# Every operation starts at random, and five of them in a row say nothing about the letter. So the first gradients are
# nearly noise, and an optimiser that follows them at full speed is carried off by it. This is the **plateau**: the loss
# lies at that of guessing, and nothing is seen to happen. (It is counted in *nats*: cross-entropy with the natural
# logarithm. Guessing among ten letters costs ln 10, or 2.30 of them.)
#
# A cure is to start slowly. While the learning rate *rises* from nothing, many small steps average the noise out, and
# what they have in common points somewhere. It helps the mixture, which moves all fifteen operations towards the same
# goal in every step. A one-hot step improves five operations as seen through four other random ones, and the next step
# asks for another five:

# %% tags=["keep_output"]
supernet = lk.Supernet(space, seed=SEED)
first = train(supernet, mixture_weights, MIXTURE, rise=MIXTURE)
early = copy.deepcopy(supernet)  # for the last cell
rest = train(supernet, random_one_hot, ONE_HOT, seed=SEED + 1)
only_one_hot = train(lk.Supernet(space, seed=SEED), random_one_hot, MIXTURE, rise=MIXTURE)
curves = {
    "mixture, rising rate;\nthen one-hot": first + rest,
    "mixture, full rate": plateau["mixture"],
    "one-hot, rising rate": only_one_hot,
}
ax = lk.plots.losses(curves, chance=math.log(10))
ax.axvline(MIXTURE, color=lk.plots.GREY, lw=1, ls=":")
ax.set_ylim(1, 3.3)
lk.plots.picture(ax, "Only the mixture with a rising rate leaves the loss of guessing; then one-hot steps work.")

# %%
print(f"rising rate, last 20 of {MIXTURE} steps: mixture {mean(first):.2f} nats, one-hot {mean(only_one_hot):.2f}")
print(f"one-hot steps after the mixture end at {mean(rest):.2f} nats; guessing {math.log(10):.2f}")

# %% [markdown]
# **What to notice.** For half of the first phase the good curve is as flat as the bad ones: on a plateau a loss curve
# cannot tell you whether to wait. Where the dotted line stands the loss jumps up: now a single architecture has to do
# alone what all did together. It is noisy from then on, because each step draws another architecture, and some are
# better than others. (That the mixture must come first is so in *this* space, which has no skip connections. Elsewhere
# one-hot training may take off by itself.)
#
# ## The first trap: batch norm
#
# Batch norm keeps running averages of what it has seen, and uses them in `eval` mode. What the supernet's batch norms
# have seen is every architecture in turn. For any *one* architecture those averages are wrong.
#
# ### Exercise e2.2: fresh statistics (O2.4)
#
# Give a derived network the statistics of its own: send a batch of training images through, so that each batch norm's
# running averages become those of this batch, and leave the network ready to be evaluated. A batch norm mixes the old
# and the new in proportion to its `momentum`, and only in train mode; at `momentum = 1.0` the old is forgotten.


# %% tags=["exercise"]
def fresh_statistics(network, images):
    """`network`, with running statistics of `images` (B, 3, 32, 32) alone, in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    # stub: return None
    # solution
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    return network.eval()
    # end solution


# %% tags=["check"]
lk.course.check("e2.2", fresh_statistics)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>Three things in this order: set the momentum of every norm, pass the images in
# train mode, go back to eval mode.</details>
# <details><summary>Hint 2</summary>No loss, no optimiser: only <code>network(images)</code>, inside <code>with
# torch.no_grad():</code>.</details>
# <details><summary>Hint 3</summary><code>for norm in norms: norm.momentum = 1.0</code>, then
# <code>network.train()(images)</code> without gradients, then <code>return network.eval()</code>.</details>

# %% [markdown]
# `lk.evaluate` does just that before it counts errors. How much does it matter? Seven architectures, evaluated both
# ways on the same shared weights and the same validation images. (From here a letter stands for a layer: 5 and 3 are
# the convolutions, p is pooling.)

# %% tags=["keep_output"]
full = {"5": "conv5x5", "3": "conv3x3", "p": "maxpool3x3"}
ways = ("55555", "33333", "ppppp", "335p5", "p35p3", "3pp5p", "53p33")
some = {way: space.architecture(full[letter] for letter in way) for way in ways}
table = lk.LatencyTable.load("five_layer-onnxruntime-b1")  # recorded; notebook 04 is about it
images = data.valid[: 600 if FAST else 2_000]
config = lk.SearchConfig(evaluation_images=len(images), calibration_images=512)
running = [lk.error(lk.derive(supernet, a), images) for a in some.values()]
fresh = [point.error for point in lk.evaluate(supernet, some.values(), data, table, config)]
ax = lk.plots.two_errors(dict(zip(some, zip(running, fresh))), ("running averages", "re-estimated"))
lk.plots.picture(ax, "Errors of seven architectures; with re-estimated batch norm nearly all are lower.")

# %%
better = sum(a < b for a, b in zip(fresh, running))
gain = 100 * (sum(running) - sum(fresh)) / len(some)
print(f"re-estimating lowers the error of {better} of {len(some)}, by {gain:.0f} points on average")

# %% [markdown]
# Nothing was trained in between. Without the re-estimate the *order* of the architectures changes as well, and the
# order is what a search lives on. (`ppppp` has one batch norm, in the stem, which every architecture uses alike: for
# it the two agree. It can hardly tell letters apart.)
#
# ## All 243 at once
#
# Architectures that begin alike share that part of the work, so evaluating all of them costs a few seconds:

# %% tags=["keep_output"]
config = lk.SearchConfig(evaluation_images=400 if FAST else 2_000, calibration_images=128 if FAST else 512)
points = lk.evaluate(supernet, space, data, table, config)
ax = lk.plots.ranking(points, {way: some[way] for way in ("55555", "33333", "3pp5p")})
lk.plots.picture(ax, "Errors of all 243 on the shared weights, best to worst, three of them named.")

# %% [markdown]
# Choose an architecture and see where it stands. Find out what pooling does in the first layer, and what it does in
# the last.

# %% tags=["widget"]
pooled = ("55555", "33333", "ppppp", "p3333", "3p333", "33p33", "333p3", "3333p", "pp333", "333pp")
options = {way: space.architecture(full[letter] for letter in way) for way in pooled}
names = {a: way for way, a in options.items()}
errors = {point.architecture: point.error for point in points}
lk.widgets.switch(
    "architecture",
    options,
    lambda a: lk.plots.ranking(points, {names[a]: a}),
    alt=lambda a: f"{names[a]}: error {errors[a]:.0%} on shared weights",
)

# %%
for way, a in options.items():
    print(f"{way}  error {errors[a]:.0%} (shared weights, {config.evaluation_images} validation images)")

# %% [markdown]
# ## The second trap: what these errors mean
#
# They are not the errors that the networks have when each is trained on its own. Shared weights are a compromise
# between 243 networks, after a very short training. What a search takes from them is the *order*. Is it the right one?
#
# Here that is not a matter of belief. Every one of the 243 has been trained by itself, from three different first
# weights, on these letters: the **tabular benchmark** of this course. Hours of computing, 150 kB of numbers.

# %%
known = lk.benches.tabular.load("five_layer")  # recorded
hours = known.seconds.sum() / 3600  # of one core
print(f"{known.space.size} networks x {known.seeds} seeds, trained in {hours:.1f} hours of one core")
accuracy = 100 * (1 - known.error)
print(f"test accuracy: worst {accuracy.min():.1f} %, median {accuracy.median():.1f} %, best {accuracy.max():.1f} %")
between_seeds = 100 * known.test_error.std(1).median()
print(f"the same network from other first weights: standard deviation {between_seeds:.1f} points")

# %% tags=["predict"]
lk.course.predict(
    "p2.3",
    "Of two networks drawn at random, how often do your shared weights say rightly which one is better?",
    ["about half of the time: no better than a coin", "two times in three", "three in four", "nine in ten"],
)

# %%
shared = [point.error for point in points]
true = known.error.tolist()
best_quarter = lk.benches.tabular.top_quarter(known).tolist()
everywhere = lk.stats.agreement(shared, true)
at_the_top = lk.stats.agreement([shared[i] for i in best_quarter], [true[i] for i in best_quarter])
print(f"Kendall's tau, all 243:         {everywhere}")
print(f"Kendall's tau, the best quarter: {at_the_top}")
right = [f"{(1 + found.tau) / 2:.0%}" for found in (everywhere, at_the_top)]
lk.course.reveal("p2.3", f"{right[0]} of all pairs, and {right[1]} of those in the best quarter")

# %% tags=["keep_output"]
by_name = {way: space.index(a) for way, a in some.items() if way in ("55555", "33333", "ppppp", "3pp5p")}
marked = {way: (100 * true[i], 100 * shared[i]) for way, i in by_name.items()}
names = ("error when trained by itself (%, recorded)", "error on the shared weights (%)")
ax = lk.plots.cloud([100 * e for e in true], [100 * e for e in shared], names, marked)
lk.plots.picture(ax, "Error on shared weights against the true error of all 243: rising, and a blob at the best end.")

# %% [markdown]
# **Kendall's tau** is the share of pairs in the right order minus the share in the wrong one: 1 is the same order, 0 a
# coin. In brackets stands its 95 % interval. Your shared weights tell good from bad. Among the best quarter, from which
# one would like to choose, they know little more than a coin.
#
# Was that your short training? Here is the same question to supernets that were trained for longer, with the recipe of
# a full search, each from three seeds; trained one-hot or on relaxed samples (mixtures near a choice: notebook 03), and
# evaluated with running averages and with re-estimated ones.


# %% tags=["keep_output"]
def agreements(scans, name):
    """Panel -> line -> Kendall's tau with the true errors, one a seed."""
    panels = {"all 243": {}, "the best quarter": {}}
    for scan in scans:
        for (_, lines), top in zip(panels.items(), (False, True)):
            lines.setdefault(name(scan), []).append(scan.agreement(known, top=top))
    return panels


rows = agreements(lk.benches.supernet.load(), lambda scan: f"{scan.sample}, {scan.statistics}")
lk.plots.picture(lk.plots.rank_agreement(rows), "Kendall's tau of recorded supernets with true errors, a dot a seed.")

# %% [markdown]
# Would another way of training mend it? A second record has four ways at equal cost: *relaxed* and *one-hot* as above;
# *fair*, where a step trains every candidate of a slot exactly once; and *distilled*, where the architecture drawn
# learns half from the labels and half from what the mixture of all makes of the images. The last line is *relaxed*
# again, for three times as many steps.

# %% tags=["keep_output"]
ways = [scan for scan in lk.benches.supernet.load("shared-weights") if scan.weights == "last"]
rows = agreements(ways, lambda scan: scan.sample.replace("*", ", steps x "))
lk.plots.picture(lk.plots.rank_agreement(rows), "Kendall's tau of supernets trained in five ways, a dot a seed.")

# %% [markdown]
# At equal cost the ways differ by no more than their seeds do. Patience is what helps, and it has its price. (The mean
# of the weights over the last steps, another popular cure, was recorded too, and orders the best quarter no better.)
#
# Part of the disorder at the top is the tabular benchmark's own: there the networks lie so close that two trainings of
# the *same* network differ by as much. So a network that was chosen on shared weights is trained from scratch before
# anyone believes in it (notebook 07), and a search that promises the *best* network on such evidence promises too much.
#
# And with 400 images an error of 60 % has a standard error of 2.5 points. Neighbours in the ranking are ties in any
# case.
#
# ## A common wrong idea
#
# *"The supernet has a low error, so the architectures in it are good."* The mixture is a network of its own, with
# three operations a layer. It says little about any of the 243. Here is the supernet as it was after the mixture
# steps:

# %%
x, y = next(data.valid.batches(len(data.valid)))
with torch.no_grad():  # in train mode, so with batch statistics: the mixture's own
    wrong = early.train()(x, uniform).argmax(-1) != y
print(f"error of the equal mixture {wrong.float().mean():.0%}")
for way, point in zip(some, lk.evaluate(early, some.values(), data, table)):
    print(f"error of {way} on the same weights {point.error:.0%}")

# %% [markdown]
# ## What you take with you
#
# - **O2.1** A mixed layer is the sum of its candidates' outputs, each times its op weight.
# - **O2.2** With one-hot op weights the supernet *is* the derived network, bit for bit, at the cost of one network.
# - **O2.3** Shared weights train on mixtures or on one-hot draws; here a mixture with a rising learning rate gets all
#   operations off the plateau, and one-hot steps then train what will be evaluated.
# - **O2.4** Re-estimate batch norm for each architecture before evaluating it, and read the result as an order: one
#   that tells good from bad, and hardly the best from the second best.
#
# **Next:** [03 gradient estimators](03_estimators.ipynb). There are 243 costs now. How does a search get downhill
# without listing them?
#
# **References.** Bender et al. 2018 (one-shot architecture search). Pham et al. 2018 (ENAS, shared weights). Guo et
# al. 2020 (single path, uniform sampling). Vahdat et al. 2020 (UNAS). Ioffe, Szegedy 2015 (batch norm). Yu et al. 2020
# (how shared weights rank).
