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
# # 05. Can a gradient choose a network?
#
# The parts are ready: a space of 243 architectures, a supernet that holds them all, an estimator that differentiates a
# choice, and a table of milliseconds. This notebook puts them into one loop, lets it run before your eyes, and then
# asks the question that is easily left out: was the result better than luck?
#
# **Time** about 45 minutes, 15 of them for the two exercises. **Before this** [02 the supernet](02_supernet.ipynb),
# [03 gradient estimators](03_estimators.ipynb) and [04 latency](04_latency.ipynb).

# %% [markdown] tags=["objectives"]
# You will
#
# - **O5.1** *write* the loss that a search minimises, and say what the generalisation gap adds to it;
# - **O5.2** *convert* milliseconds into error with a latency weight, linear or beyond a target;
# - **O5.3** *run* a search, and *read* its phases from the loss and from the probabilities;
# - **O5.4** *evaluate* what it chose: by an exhaustive scan, by its true regret, and by random search at equal cost.

# %% tags=["parameters"]
FAST = True  # a shortened search, about 15 s; False: the whole recipe, some minutes
SEED = 0  # of the images, the weights and the search
LATENCY_WEIGHT = 0.5  # error fraction per millisecond

# %% tags=["setup"]
from math import comb
from tempfile import mkdtemp

import torch
import torch.nn.functional as F

import labkit as lk

lk.course.start("05", seed=SEED)
space = lk.spaces.five_layer()
data = lk.data.hard_glyphs(*(6_000, 2_000, 1_000) if FAST else (), seed=SEED)  # as in notebook 02
table = lk.LatencyTable.load("five_layer-onnxruntime-b1")  # recorded: see notebook 04
supernet = lk.Supernet(space, seed=SEED)
print(f"{len(data.train):,} images to train on, {len(data.valid):,} to choose by; latencies: {table.card}")

# %% [markdown]
# ## What is minimised
#
# A search looks for a distribution over architectures, with logits α, whose samples $z$ are good on average, while the
# shared weights $w$ are trained for just those samples:
#
# $$ \min_{\alpha}\; \mathbb{E}_{z \sim p_\alpha}\big[\, L_{gen}(z, w) \;+\; \text{latency cost}(z) \,\big] $$
#
# The first term is a loss on images. Which images? The weights learn on the *training* part, and an architecture
# evaluated there alone would be praised for memorising. So UNAS takes the training loss and adds a share λ of the *gap*
# to the loss on the *validation* part:
#
# $$ L_{gen} = L_{train} + \lambda\, |L_{valid} - L_{train}| \qquad \lambda = 0.5 $$

# %% [markdown] tags=["exercise"]
# ### Exercise e5.1: the generalisation loss (O5.1)
#
# `train` and `valid` are the mean losses of two batches, tensors with a gradient; `gap_weight` is λ.


# %% tags=["exercise"]
def l_gen(train, valid, gap_weight):
    """L_train + gap_weight |L_valid - L_train|, with its gradient."""
    # stub: return None
    # solution
    return train + gap_weight * (valid - train).abs()
    # end solution


# %% tags=["check"]
lk.course.check("e5.1", l_gen)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: the gap</summary>
# The gap is how far the two losses are apart, whichever is larger: an absolute value, so never negative.</details>
# <details><summary>Hint 2: the gradient</summary>
# Stay with tensors: <code>.abs()</code> keeps the gradient; <code>.item()</code> and <code>float()</code> lose it.
# </details>
# <details><summary>Hint 3: nearly all of it</summary>
# <code>train</code> plus <code>gap_weight</code> times <code>(valid - train).abs()</code>.</details>

# %% [markdown]
# On the untrained supernet both losses are near that of guessing, ln 10 = 2.3 nats for ten classes, and there is no
# gap yet. `lk.estimators.costs.generalisation_loss` is the exercise, by name.

# %%
architecture = space.architecture("conv3x3-maxpool3x3-conv3x3-maxpool3x3-conv3x3")
weights = space.encode(architecture)[None]  # one-hot op weights, (1, S, K)
losses = []
for part in (data.train, data.valid):
    images, labels = next(part.batches(128, torch.Generator().manual_seed(SEED)))
    with torch.no_grad():
        losses.append(F.cross_entropy(supernet(images, weights), labels))
both = lk.estimators.costs.generalisation_loss(*losses, 0.5)
print(f"L_train {losses[0]:.3f}, L_valid {losses[1]:.3f}, L_gen {both:.3f} nats")

# %% [markdown]
# ## What a millisecond is worth
#
# The second term is the latency cost. A **latency weight** says how much error you would accept to be one millisecond
# faster. Its unit here is *error fraction per millisecond*, everywhere. Whether a weight is large depends on how many
# milliseconds there are to gain, so look at the table's range first.

# %%
fastest, slowest = table.range_ms()
print(f"the space takes {fastest:.3f} to {slowest:.3f} ms by the recorded table")
for weight in sorted({0.1, LATENCY_WEIGHT, 2.0}):
    points = 100 * weight * (slowest - fastest)
    print(f"at weight {weight}, fastest instead of slowest is worth {points:.1f} points of error")

# %% [markdown]
# Two details on the way to the gradient. First, $L_{gen}$ is in nats of cross-entropy and the latency cost in error
# fraction, so one must be converted. On this supernet one unit of error is worth 5 to 10 nats, and
# `SearchConfig.nats_per_error` is 6: a rule of thumb, so the weight steers the search only roughly. The *evaluation* at
# the end is done in error. Second, the table is linear in the op weights, so the expected latency has an exact
# gradient: a candidate that is slower than the average of its slot becomes less likely, in proportion. By hand, then
# by name:

# %%
dist = lk.ArchDistribution(space)
probs, ms = dist.probs().detach(), table.matrix.float()
by_hand = probs * (ms - (probs * ms).sum(-1, keepdim=True))

expected_ms = table(dist.probs()[None]).sum()
(gradient,) = torch.autograd.grad(expected_ms, dist.logits)
assert torch.allclose(gradient, by_hand, atol=1e-6)
print(f"expected latency of the uniform distribution {expected_ms:.3f} ms (table, recorded)")
print("latency alone would choose:", space.decode(-gradient))

# %% [markdown]
# A linear latency cost rewards every millisecond saved. With a **target** only those beyond it cost, which is the
# published form, the *hinge*.

# %%
middle = (fastest + slowest) / 2
costs = {
    "weight alone": lk.estimators.costs.LatencyCost(LATENCY_WEIGHT),
    f"with a target of {middle:.2f} ms": lk.estimators.costs.LatencyCost(LATENCY_WEIGHT, target_ms=middle),
}
ax = lk.plots.latency_costs(costs, (fastest, slowest))
lk.plots.picture(ax, "A straight line, and a line that is zero up to the target and then rises.")

# %% [markdown] tags=["exercise"]
# ### Exercise e5.2: the hinge (O5.2)
#
# `ms` is a tensor of latencies. Up to `target_ms` they cost nothing; beyond it each millisecond costs `weight`.


# %% tags=["exercise"]
def hinge(ms, weight, target_ms):
    """Cost (N,) in error fraction of latencies (N,) in milliseconds."""
    # stub: return None
    # solution
    return weight * (ms - target_ms).clamp_min(0)
    # end solution


# %% tags=["check"]
lk.course.check("e5.2", hinge)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: beyond the target</summary>
# <code>ms - target_ms</code> is positive beyond the target and negative before it.</details>
# <details><summary>Hint 2: no reward</summary>
# Whatever is negative becomes 0: <code>.clamp_min(0)</code>.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# <code>(ms - target_ms).clamp_min(0)</code>, times the weight.</details>

# %% [markdown]
# ## The loop
#
# One step of the joint phase, in words that match `labkit/oneshot/run.py`:
#
# 1. take a training batch and a validation batch;
# 2. draw one architecture: its one-hot op weights and, from the same noise, the relaxed ones;
# 3. run the supernet on both batches: one-hot (the true cost) and relaxed (the control), as in notebook 03;
# 4. **logits:** step against the UNAS gradient of $L_{gen}$ plus the exact gradient of the latency cost;
# 5. **weights:** step against the gradient of $L_{train}$ on the relaxed sample. It is a by-product of 3.
#
# Two phases go before it, without which nothing works: all candidates at equal op weights (*mixture*), because a
# supernet that begins with random architectures stays at chance for hundreds of steps; then weights on random samples
# (*uniform*). Now predict, and run.

# %% tags=["predict"]
lk.course.predict(
    "p5.1",
    "All 243 will be evaluated on the weights that the search leaves behind. Its pick will be ...",
    ["the very best", "among the best 24 (a tenth)", "in the better half", "anywhere"],
)

# %%
make = lk.SearchConfig.fast if FAST else lk.SearchConfig
config = make(estimator="unas", latency_weight=LATENCY_WEIGHT, seed=SEED)
print("SHORTENED search, for demonstration:" if FAST else "full recipe:", end=" ")
print(f"{config.mixture_steps} mixture + {config.weight_steps} uniform + {config.joint_steps} joint steps")
saved = lk.Checkpoints(mkdtemp(), every=10, keep=None)  # to go back to, further down

# %% [markdown]
# It is saved every ten steps: stop the next cell when you like, run it again, and it goes on.


# %%
def report(record):
    if record["step"] % 50 == 0:
        print(f"step {record['step']:3}  {record['phase']:8} loss {record['loss']:.2f} nats")


result = lk.search(supernet, data, table, config, checkpoints=saved, on_step=report)
print(f"{result.seconds:.0f} s, {result.passes:,.0f} image passes")

# %% tags=["keep_output"]
ax = lk.plots.learning(result.history)
lk.plots.picture(ax, "Training loss: from chance down in the mixture phase, up when sampling begins.")

# %% [markdown]
# The first phase starts at chance, and at some step the loss takes off: from there on all candidates are useful. It
# jumps up when sampling begins, because a random architecture is a harder task than the mixture of all: its layers
# have never had to work alone. In the joint phase it is noisy, since each step trains another sample.

# %% tags=["keep_output"]
figure = lk.plots.choices(result.history, space)
lk.plots.picture(figure, "Probability of each candidate in each layer over the joint steps, from 1/3.")

# %%
joint = [row for row in result.history if row["phase"] == "joint"]
print(f"chosen: {result.architecture}, {result.point.latency_ms:.3f} ms (table, recorded)")
print(f"expected latency {joint[0]['expected_ms']:.3f} -> {joint[-1]['expected_ms']:.3f} ms")
print(f"entropy {joint[0]['entropy']:.2f} -> {joint[-1]['entropy']:.2f} nats; 0 would be no doubt at all")

# %% [markdown]
# All layers begin at a third each. What has moved far is decided; what lies near a third the search has not settled in
# the steps it had, and its pick there is close to a toss. The pick takes the most probable candidate of each layer.
#
# ## Tell it again, and let it end otherwise
#
# A search keeps a log of every step, so it can be told again. Drag the step, or let it play, and find (1) the step at
# which the loss takes off; (2) a layer that changes its mind in the joint phase; (3) a step whose draw, ringed, is not
# what the bars would have you expect: it is a draw.

# %% tags=["widget"]
replay = lk.widgets.Replayer(lk.oneshot.replays.replay_of(result.history, space))
replay.step = config.mixture_steps + config.weight_steps  # where the architecture begins to move
replay

# %% [markdown]
# Its checkpoints hold weights, logits, optimisers, the order of the images, the state of every generator. So a search
# that is killed goes on from the last one and ends exactly as if it had not been, and you can go back to a step
# and choose differently. The next cell goes back to the checkpoint nearest to where you left the replay and makes a
# millisecond four times as dear *from there*; all that was learned before is kept.

# %%
back = min(saved.steps, key=lambda step: abs(step - replay.step))
dearer = lk.SearchConfig(**{**vars(config), "latency_weight": 4 * LATENCY_WEIGHT})
branch = lk.search(supernet, data, table, dearer, start=saved.at(back))
print(f"the search at weight {LATENCY_WEIGHT}:             {result.architecture}, {result.point.latency_ms:.3f} ms")
print(f"from step {back} on at weight {4 * LATENCY_WEIGHT}: {branch.architecture}, {branch.point.latency_ms:.3f} ms")

# %% [markdown]
# ## Was it right? Look at everything
#
# With 243 architectures there is no need to guess. `lk.evaluate` takes each of them out of the supernet, re-estimates
# its batch norm (notebook 02) and counts its errors on validation images; architectures that begin alike share that
# work. The cost is what the search was asked to minimise: error + weight × milliseconds.

# %%
points = lk.evaluate(result.supernet, space, data, table, result.config)


def cost(point):
    return point.error + LATENCY_WEIGHT * point.latency_ms


order = sorted(points, key=cost)
rank = 1 + sum(cost(p) < cost(result.point) for p in points)
average = sum(map(cost, points)) / len(points)
print(f"cost of the pick {cost(result.point):.3f}: number {rank} of {len(points)}")
print(f"best {cost(order[0]):.3f} ({order[0].architecture}), average {average:.3f}")
lk.course.reveal("p5.1", f"number {rank} of {len(points)}")

# %% tags=["keep_output"]
chosen = {"the search's pick": result.point, "best by scan": order[0]}
ax = lk.plots.frontier(points, chosen=chosen)
lk.plots.picture(ax, "Error against latency of all 243, with the pick and the best one ringed.")

# %% [markdown]
# Mind what the vertical axis is: error *on the shared weights*. And these weights were trained on the samples that
# *this* search drew, which flatters what it prefers. So the scan says whether the search found what it was shown, and
# not whether that is right.
#
# ## Was it right?
#
# For the tabular benchmark, each of the 243 networks was trained by itself, three times over, and timed end to end
# (notebook 02). With that, what a search *loses* has a number, the **regret**: the true cost of its pick minus that of
# the best one.

# %% tags=["predict"]
lk.course.predict(
    "p5.2",
    "The true regret of the pick, against that of an architecture drawn at random, is ...",
    ["none at all", "less than a quarter", "about half", "as large"],
)

# %%
known = lk.benches.tabular.load("five_layer")  # recorded
true_cost = known.as_cost(latency_weight=LATENCY_WEIGHT)  # test error + weight x measured milliseconds
at_random = true_cost.values.mean().item() - true_cost.values.min().item()
print("true regret, in points of error at this latency weight (recorded errors, measured latencies)")
for name, architecture in {"the search's pick": result.architecture, "best by scan": order[0].architecture}.items():
    print(f"{name:20} {100 * true_cost.regret(architecture):5.1f}")
print(f"{'one drawn at random':20} {100 * at_random:5.1f} on average")
share = true_cost.regret(result.architecture) / at_random
lk.course.reveal("p5.2", f"{share:.0%} of that of a random one")

# %% tags=["keep_output"]
true_points = known.points()
by_architecture = {point.architecture: point for point in true_points}
chosen = {
    "the search's pick": by_architecture[result.architecture],
    "best by scan": by_architecture[order[0].architecture],
    "truly best": by_architecture[true_cost.best()],
}
ax = lk.plots.frontier(true_points, chosen=chosen)
lk.plots.picture(ax, "True error against measured latency of all 243; the pick, the best by scan and the best ringed.")

# %% [markdown]
# **What to notice.** The pick can lie a step off the true staircase in two ways. The search may not have found what the
# shared weights call best: then pick and *best by scan* are apart. Or the shared weights may be mistaken: then *best by
# scan* and *truly best* are. More search mends the first, and only better weights mend the second.
#
# ## Was it better than luck?
#
# Random search is the baseline that every search owes its reader: draw $n$ architectures, evaluate them on the same
# weights, keep the best. Its expected cost needs no experiment here, for all 243 costs are known: the $k$-th best of
# $N$ wins when it is drawn and no better one is, which $\binom{N-k}{n-1}$ of the $\binom{N}{n}$ draws do.

# %% tags=["keep_output"]
N = len(order)
expected_best = [
    sum(cost(p) * comb(N - 1 - k, n - 1) for k, p in enumerate(order)) / comb(N, n) for n in range(1, N + 1)
]
c = result.config  # random search trains its weights for as many steps, on single architectures
training = 3 * c.batch_size * (3 * c.mixture_steps + c.weight_steps + c.joint_steps)
equal = int((result.passes - training) / (c.calibration_images + c.evaluation_images))
ax = lk.plots.luck(expected_best, cost(result.point), equal)
lk.plots.picture(ax, "The best of n random architectures improves with n towards the search's pick.")

# %%
worth = sum(best > cost(result.point) for best in expected_best) + 1
print(f"the pick is worth the best of {min(worth, N)} random ones, on average, on these weights")
print(f"for the image passes of its architecture steps {equal} could have been evaluated, of {N}")

# %% [markdown]
# That is the honest measure of a search on a space this small: how many random draws it is worth, and how many its
# image passes would have bought. If the dotted line lies right of where the curves meet, random search would have done
# as well or better. A space of $10^{17}$ is another matter: there nobody can evaluate a sizeable share. But there
# nobody can look up the answer either, and that is why the question is asked here.
#
# ## The recorded study: the whole recipe, several weights
#
# One shortened run with one seed proves little. The course ships a recorded study: one search a latency weight, and
# random search at no more than their cost, all evaluated afterwards on *one* set of shared weights, trained on uniform
# samples.

# %%
study = lk.benches.study.load_study("five_layer-glyphs")
made, images = study.made, study.data
steps = " + ".join(f"{made['config'][f'{phase}_steps']} {phase}" for phase in ("mixture", "weight", "joint"))
print(f"recorded {made['date']}: {steps} steps, seed {made['config']['seed']}, {made['seconds']} s in all")
print(f"{images['train']:,} training images of {images['name']}")
for name, passes in made["passes"].items():
    print(f"{name}: {passes:,.0f} image passes")
print(f"random search evaluated {len(study.points)} architectures of {study.space.size}")
print(f"latencies: {study.table.card}")

# %%
print("cost = error fraction + weight x ms, on the study's shared weights\n")
print("weight   search  random  average  what the search chose")
for (weight, pick), (_, lucky) in zip(study.picks, study.random):
    found, drawn = (p.error + weight * p.latency_ms for p in (pick, lucky))
    average = sum(p.error + weight * p.latency_ms for p in study.points) / len(study.points)
    print(f"{weight:6.2f}   {found:.3f}   {drawn:.3f}   {average:.3f}    {pick.architecture}")

# %% [markdown]
# Where random search evaluated *all* architectures it is an exhaustive scan, and on the weights that it is evaluated by
# nothing can beat it: "search" cannot be smaller than "random" there. The table shows how much the search *loses*
# against a scan that a space this small permits, and how much it *gains* against an average pick.

# %%
picked, at_random = dict(study.picks), dict(study.random)


def draw(weight):
    chosen = {"search": picked[weight], "random search": at_random[weight]}
    return lk.plots.frontier(study.frontier, chosen=chosen)


first = next(iter(picked))
lk.plots.picture(draw(first), f"Recorded study: what search and random search chose at weight {first}.")

# %% [markdown]
# Now turn the weight. Two things to find: (1) the weight from which on the search chooses another network than at 0;
# (2) a weight, if any, at which its pick is *not* on the staircase: another network is both faster and more accurate.

# %% tags=["widget"]
lk.widgets.switch(
    "latency weight (error per ms)",
    list(picked),
    draw,
    alt=lambda weight: f"Latency weight {weight}: the search chose {picked[weight].architecture}.",
)

# %% [markdown]
# ## Let training decide
#
# Shared weights tell good networks from bad ones and hardly order the good (notebook 02). They also *stretch*
# differences: two networks that end a point apart can lie five apart there, so a latency weight weighs too little. More
# search mends neither. So a search in earnest has a **second stage**, `lk.select`:
#
# 1. the distribution proposes its 32 most probable architectures, and the shared weights name eight of them;
# 2. each of the eight is trained briefly from a copy of the shared weights, and four of them go on;
# 3. the four are trained from scratch, as the winner would be, two of them from a second seed; their means choose.
#
# In 1 and 2 it hedges against the stretch: who goes on is the best at the latency weight, then at twice the weight,
# then at four times. All of it is charged to the search. The course ships a study of it: ten seeds, four latency
# weights and baselines at equal cost, evaluated by the tabular benchmark. Its searches are *sweeps*: the same shared
# weights serve all four latency weights, each with a distribution, its *policy*, that sends on the best that no other
# has sent. (*Evolution* changes a slot of a good architecture and keeps the better ones; *local search* steps to the
# best neighbour.)

# %% tags=["predict"]
lk.course.predict(
    "p5.3",
    "Whose picks have the least true regret, on average over weights and seeds?",
    ["the sweep's own", "a scan of all 243 on its shared weights", "the second stage's", "random, from scratch"],
)

# %% tags=["keep_output"]
found = lk.benches.comparison.load("five_layer-comparison")  # recorded
latency = known.latency_like(found.table.card).name
figure = lk.plots.comparison(*lk.benches.comparison.drawn(found, known, latency))
lk.plots.picture(figure, "True regret of each method at four latency weights: a dot a seed, the 95 % band of a mean.")

# %%
regrets, *_ = lk.benches.comparison.drawn(found, known, latency)  # in points, (seeds, weights) of each method
print("method              mean regret  9 in 10 within  seconds, of all four weights")
for method, points in regrets.items():
    seconds = [row.seconds for row in found.rows if row.method == method]
    within = torch.tensor(points).quantile(0.9)
    print(f"{method:20}{points.mean():11.2f}{within:16.2f}{sum(seconds) / len(seconds):12.0f}")
lk.course.reveal("p5.3", "the least mean regret has: " + min(regrets, key=lambda method: regrets[method].mean()))

# %% [markdown]
# **What to notice.** (1) Looking at *everything* on shared weights does not help: random search, evolution and local
# search all scan this small space, find what the shared weights call best, and lose more than the second stage, which
# trains sixteen, eight of them twice. (2) *random, selected* is the same second stage after a scan, and as good: here
# the policy saves only looking. The claim for the gradient is made on spaces that cannot be scanned. (3) *random from
# scratch* trains 38 in as many seconds, a sixth of the space: its medians are as low, its unlucky draws worse. (4) One
# training is luck as well: before some had a second seed, the choice at the largest weight, where many are close, was
# off by 1.1 points in the median.
#
# The stretch can be seen from another side. Every choice *realises* a weight: the one at which it is nearest to being
# the best of all. Who asks for ten times the weight should get it. The slope of the one against the other, both in
# logarithms, says whether the weight steers at all:

# %%
for method in ("exhaustive scan", "sweep", "sweep, selected"):
    chosen = [(found.latency_weights, row.ops) for row in found.rows if row.method == method]
    print(f"{method:16} {lk.benches.comparison.steering(known, chosen, latency)}")

# %% [markdown]
# What a scan of the shared weights calls best realises nearly always the same weight. The sweep follows
# half-heartedly. Only the second stage, which evaluates by trained networks in the end, does as it is told.

# %% [markdown]
# ## Does the estimator matter?
#
# Notebook 03 told estimators apart on a cost that stood still. Here each leads the same sweep: the same first weights
# and schedule, and as many joint steps as come to the same image passes. No second stage mends what they do.

# %% tags=["predict"]
lk.course.predict(
    "p5.4",
    "Which of the other estimators end clearly worse than UNAS?",
    ["none of them", "REBAR and REINFORCE", "Gumbel-Softmax, straight-through and DARTS", "all of them"],
)

# %% tags=["keep_output"]
drawn = lk.benches.comparison.drawn(found, known, latency, estimators=True)  # in points, (seeds, weights)
by_estimator, _, unas, *_ = drawn
mean = {name: points.mean(1) for name, points in by_estimator.items()}  # of the four weights, a number a seed
print("estimator          mean regret   p, paired with UNAS   different networks chosen, of 40")
for name, points in by_estimator.items():
    chosen = {ops for row in found.rows if row.method == found.estimators[name] for ops in row.ops}
    p = f"{lk.stats.sign_flips(mean[name] - mean[unas]):.3f}" if name != unas else ""
    print(f"{name:18}{points.mean():8.2f}{p:>20}{len(chosen):>20}")
worse = [name for name in mean if mean[name].mean() > mean[unas].mean()]
clearly = [name for name in worse if lk.stats.sign_flips(mean[name] - mean[unas]) < 0.05]
lk.course.reveal("p5.4", "clearly worse, p < 0.05: " + ", ".join(clearly))

# %% [markdown]
# **What to notice.** (1) It goes by bias. The three unbiased estimators end near each other; the three that
# differentiate a mixture, and not what is drawn from it, end clearly behind. (2) DARTS chose *one* network, forty
# times: conv3x3 in every layer, which makes the best mixture whatever a millisecond costs. Gumbel-Softmax did so nearly
# as often. Straight-through chose more, and worse ones. (3) Among the unbiased, ten seeds cannot tell UNAS from REBAR,
# nor surely from REINFORCE with its larger variance: hundreds of steps average much of it away. Variance costs steps;
# bias stays.

# %% [markdown]
# ## A common wrong idea
#
# *"The search converged, so it found the best architecture."* Converged means that the logits have stopped moving. The
# scan shows where they stopped: sometimes at the best, usually near it. The honest claim for a space of this size
# is three-fold. The search lands near the optimum of what it was asked; it avoids bad networks, which an average pick
# does not; and it does **not** reliably beat random search at equal cost. Whoever claims more must show it at equal
# cost and over several seeds.
#
# ## What you take with you
#
# - **O5.1** The architecture follows $L_{gen}$, the training loss plus a share of the gap to validation; the weights
#   follow the training loss.
# - **O5.2** A latency weight is error fraction per millisecond. What it buys depends on the range of the table.
# - **O5.3** Mixture, uniform, joint: first get the operations off the plateau, then let them work alone, then choose.
# - **O5.4** Evaluate a search on what it was asked to minimise: by a scan and its true regret where there can be such,
#   by random search always; and let training decide among its best.
#
# **Next:** [06 the frontier](06_frontier.ipynb) leaves the single weight behind: all trade-offs at once, and those
# that no weight can reach.
#
# **References.** Vahdat, Mallya, Liu, Kautz, *UNAS*, CVPR 2020, arXiv 1912.07651. Li, Talwalkar, *Random Search and
# Reproducibility for NAS*, UAI 2019, arXiv 1902.07638. Yu et al., *Evaluating the Search Phase of NAS*, ICLR 2020,
# arXiv 1902.08142. Bender et al., *Can Weight Sharing Outperform Random Architecture Search? (TuNAS)*, CVPR 2020,
# arXiv 2008.06120.
