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
# # 06. Which networks are worth having?
#
# One latency weight gives one network. But whoever deploys rarely knows the weight; they know a deadline, or a
# battery, or a colleague who asks what another tenth of a millisecond would buy. This notebook looks at *all* sensible
# answers at once, the frontier, and at those among them that no latency weight will ever choose.
#
# **Time** about 45 minutes, 15 of them for the two exercises. **Before this** [05 the search](05_search.ipynb), or
# only its last part on the recorded study.

# %% [markdown] tags=["objectives"]
# You will
#
# - **O6.1** *write* the rule that says which architectures no other one beats;
# - **O6.2** *choose* from a frontier by a deadline or by its knee, and *measure* it by its hypervolume;
# - **O6.3** *show* which part of a frontier no latency weight can choose, and what a target changes;
# - **O6.4** *explore* the trade-off by hand, and *say* which layers pay for the last milliseconds.

# %% tags=["parameters"]
FAST = True  # a grid of 500 weights and 200 redraws; False: ten times as many
SEED = 0  # of the redraws

# %% tags=["setup"]
import math

import numpy as np
from IPython.display import HTML

import labkit as lk

lk.course.start("06", seed=SEED)
GRID, REDRAWS = (500, 200) if FAST else (5_000, 2_000)
study = lk.benches.study.load_study("five_layer-glyphs")
points = study.points
print(f"{len(points)} architectures of {study.space.name}, recorded {study.made['date']} on {study.data['name']}")
print(f"errors: one set of shared weights; latencies: table, {study.table.card}")

# %% [markdown]
# ## Better in what?
#
# Every architecture has two costs, its error and its latency, and for both smaller is better. So "better" needs a rule
# that does not weigh one against the other:
#
# > $a$ **beats** $b$ when it is no worse in both costs, and better in at least one.
#
# Two architectures of which one is faster and the other more accurate do not beat each other: that is the trade-off.
# What no other architecture beats is called *non-dominated*, and all of it together is the **frontier**.

# %%
pairs = [(0.30, 0.2), (0.20, 0.4), (0.30, 0.3), (0.10, 0.9), (0.35, 0.8)]  # (error, ms)


def beats(a, b):
    """Whether a is no worse than b in both costs, and better in at least one."""
    return a[0] <= b[0] and a[1] <= b[1] and a != b


for other in pairs[1:]:
    print(f"{pairs[0]} beats {other}: {beats(pairs[0], other)}")

# %% tags=["predict"]
lk.course.predict(
    "p6.1",
    "How many of the 243 architectures does no other one beat?",
    ["fewer than 5", "5 to 10", "11 to 25", "more than 25"],
)

# %% [markdown] tags=["exercise"]
# ### Exercise e6.1: who is left? (O6.1)
#
# Keep the points that no other point beats. Points are pairs (error, ms); return a list of them. `beats` is yours to
# use.


# %% tags=["exercise"]
def non_dominated(points):
    """The points (error, ms) that no other point beats."""
    # stub: return None
    # solution
    return [a for a in points if not any(beats(b, a) for b in points)]
    # end solution


# %% tags=["check"]
lk.course.check("e6.1", non_dominated)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: one point</summary>
# A point stays unless <em>any</em> other point beats it. Ask <code>beats(b, a)</code> for every
# <code>b</code>.</details>
# <details><summary>Hint 2: itself</summary>
# You need not leave the point itself out: <code>beats(a, a)</code> is false, because it is better in
# nothing.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# A list comprehension over <code>a</code> with the condition <code>not any(beats(b, a) for b in
# points)</code>.</details>

# %%
frontier = lk.Frontier.of(points)
front = list(frontier)  # the non-dominated points, fastest first
yours = non_dominated([(p.error, p.latency_ms) for p in points])
agree = set(yours or ()) == {(p.error, p.latency_ms) for p in front}
print("your function agrees with lk.Frontier" if agree else "on with lk.Frontier; yours comes later")
lk.course.reveal("p6.1", f"{len(front)} of {len(points)}")

# %% [markdown]
# ## Choosing from it
#
# A frontier answers questions, and each question names another point:
#
# - *What is the best within a deadline?* `frontier.best(max_ms)`, the most accurate point that is fast enough.
# - *Where does the trade-off bend?* `frontier.knee()`, the point farthest below the line between the two ends. It
#   depends on how the axes are scaled (here each from 0 to 1 over the frontier), so it is a suggestion, not a law.

# %% tags=["keep_output"]
fastest, slowest = front[0].latency_ms, front[-1].latency_ms
deadline = round(fastest + 0.6 * (slowest - fastest), 2)
chosen = {f"best within {deadline} ms": frontier.best(deadline), "knee": frontier.knee()}
ax = lk.plots.frontier(frontier, chosen=chosen)
lk.plots.picture(ax, "Recorded error against latency, the frontier as stairs, two choices ringed.")

# %%
for name, point in chosen.items():
    print(f"{name}: {point.architecture}, {100 * point.error:.1f} %, {point.latency_ms:.3f} ms")
try:
    frontier.best(max_ms=round(fastest / 2, 3))
except lk.InputError as refusal:
    print(f"refused: {refusal}")

# %% [markdown]
# ## How good is a whole frontier?
#
# Two searches leave two frontiers. To compare them one needs a single number: the **hypervolume**, the area of all
# (error, ms) that a frontier beats, up to a corner `worst` that both must share. The staircase makes it a sum of
# rectangles: each begins at a point, reaches up to the worst error, and ends where the next, slower point begins. The
# last one ends at the worst latency.

# %% tags=["keep_output"]
worst = (max(p.error for p in points), max(p.latency_ms for p in points))
ax = lk.plots.dominated_area(frontier, worst)
lk.plots.picture(ax, "The area above the frontier's stairs, up to the worst corner, is shaded.")

# %% [markdown] tags=["exercise"]
# ### Exercise e6.2: the area above the stairs (O6.2)
#
# `staircase` is a frontier as pairs (error, ms), fastest first, all of them below `worst` = (error, ms).


# %% tags=["exercise"]
def hypervolume(staircase, worst):
    """Area between the staircase and worst, in error fraction times milliseconds."""
    # stub: return None
    # solution
    ends = [ms for _, ms in staircase[1:]] + [worst[1]]
    return sum((worst[0] - error) * (end - ms) for (error, ms), end in zip(staircase, ends))
    # end solution


# %% tags=["check"]
lk.course.check("e6.2", hypervolume)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1: one rectangle</summary>
# Its height is the worst error minus the point's error. Its width is the next point's ms minus its own.</details>
# <details><summary>Hint 2: the ends</summary>
# The right ends are the latencies of all points but the first, and then <code>worst[1]</code>.</details>
# <details><summary>Hint 3: nearly all of it</summary>
# With <code>ends = [ms for _, ms in staircase[1:]] + [worst[1]]</code>, sum
# <code>(worst[0] - error) * (end - ms)</code> over <code>zip(staircase, ends)</code>.</details>

# %%
whole = frontier.hypervolume(worst)
picks = lk.Frontier.of(point for _, point in study.picks)
lucky = lk.Frontier.of(point for _, point in study.random)
some = {"all architectures": frontier, "the searches' picks": picks, "random search": lucky}
for name, part in some.items():
    print(f"{name:20} {part.hypervolume(worst) / whole:6.1%} of the area, {len(list(part))} frontier points")

# %% [markdown]
# Both kinds of search were asked only a few times, once a latency weight, and so hold a part of the area. (Where
# random search evaluated everything, its row is what those weights can get at best: see notebook 05.)
#
# ## What a latency weight can choose
#
# A latency weight picks the architecture with the least `error + weight * ms`. Turn it from 0 up, and the pick wanders
# from the most accurate architecture to the fastest. Does it visit the whole frontier on its way?

# %% tags=["predict"]
lk.course.predict(
    "p6.2",
    "Some weight between 0 and infinity chooses ...",
    ["every frontier point", "about three in four", "about half", "fewer than half"],
)

# %%
weights = [0, *np.geomspace(1e-4, 1e3, GRID)]
visited = {min(points, key=lambda p: (p.error + weight * p.latency_ms, p.latency_ms)) for weight in weights}

scene = lk.widgets.explorer.scene_of(points, study.table, "Five layers on glyphs, recorded")
reachable, every = lk.widgets.explorer.reachable(scene), lk.widgets.explorer.frontier(scene)
print(f"{len(weights)} weights choose {len(visited)} different architectures")
print(f"by name: {len(reachable)} of the {len(every)} on the frontier can be chosen by some weight")
lk.course.reveal("p6.2", f"{len(reachable) / len(every):.0%} of the frontier")

# %% [markdown]
# Why not all? All points with the same cost lie on a straight line of slope −weight. Choosing the least cost pushes
# that line towards the lower left until one last point touches it, and a straight line only ever touches the *corners*
# of the cloud's outline (its convex hull). A point in a dent between two corners is on the frontier, nobody beats it,
# and every weight prefers one of its neighbours.
#
# A **target** bends the line. With the hinge of notebook 05, everything faster than the target is free, so what wins
# is the most accurate point that is fast enough, dent or not, *if* the weight is large enough to forbid overrunning.
# A **deadline** needs no weight at all: what is late does not count, and of the rest the most accurate wins.

# %% tags=["keep_output"]
needed = lk.widgets.explorer.filling_weight(scene)  # the steepest step of the stairs
shares = {"any weight, no target": len(reachable) / len(every)}
for factor in (0.03, 0.1, 0.3, 1.01):
    found = {lk.widgets.explorer.choose(scene, factor * needed, scene.points[i].ms) for i in every}
    shares[f"targets, weight {factor * needed:.2g}"] = len(found & set(every)) / len(every)
in_time = {lk.widgets.explorer.choose(scene, math.inf, scene.points[i].ms) for i in every}  # no price for being late
shares["deadlines"] = len(in_time & set(every)) / len(every)
ax = lk.plots.reached(shares)
lk.plots.picture(ax, "Share of the frontier that can be chosen: by weights a part, by targets and deadlines all.")

# %%
for name, share in shares.items():
    print(f"{name:28} {share:4.0%}")
print(f"from a weight of {needed:.2g} error per ms on, a target chooses every frontier point")

# %% [markdown]
# This holds where the choice is an exact minimum over a table. A gradient search moves a *distribution* instead, slot
# by slot, and stops where no slot gains by itself. What does it find? For the record below 50 searches (seeds) were run
# at each of ten deadlines, all against the exact table, where every one of the 243 networks was trained. Counted are
# those whose choice is in time and within one point of the best that is:
#
# - **deadline**: descent with a hard deadline; in the end the best that it drew on the way counts too;
# - **policy alone**: the same searches, by the most probable architectures of the distribution (the *policy*) only;
# - **random**: the best of as many different architectures as the deadline search looked at, drawn at random;
# - **hinge** and **weight sweep**: by their most probable architecture. Their weights are computed from the exact
#   frontier, which no real search would know.

# %% tags=["keep_output"]
known, bench = lk.benches.tabular.load(), lk.benches.deadlines.load()
deadlines = {row.quantile: f"{row.deadline_ms:.3f}" for row in bench}
near = {m: [row.near_best for row in bench if row.method == m] for m in lk.benches.deadlines.METHODS}
ax = lk.plots.shares(near, list(deadlines.values()), "searches in time and within a point of the best (%)")
ax.set_xlabel(f"deadline (ms, {known.latency().card.runtime} on {known.latency().card.device})")
lk.plots.picture(ax, "Five ways to ask for ten deadlines: only a deadline with a memory finds nearly the best at each.")

# %%
print(lk.benches.deadlines.to_text(bench, lk.benches.deadlines.summaries(known, bench)))
print("(ten deadlines have at most ten best networks: who always finds them finds no more of the front than those)")

# %% [markdown]
# **What to notice.** The searches under a deadline *keep* it, every one. What that costs is another matter: at the
# second deadline two policies in five end in a wrong corner, which no single slot gains by leaving. A memory of what
# was drawn mends that. The sweep has no weight for what lies in a dent, and the hinge, with a weight that must forbid
# overrunning, hears little else. And look at "random" before you praise anybody: 243 architectures are few, and
# whoever has looked at two thirds of them is hard to beat.
#
# ## Drag and see
#
# Here is the recorded study with one weight. Filled dots are chosen by some weight, diamonds are on the frontier and
# chosen by none, small grey dots are dominated. The table below it is the chosen architecture, layer by layer.

# %% tags=["keep_output"]
HTML(lk.widgets.explorer.static_picture(scene))

# %% [markdown]
# And now by hand. Focus the slider and use the arrow keys (Home and End go to the ends), or drag it, or choose the
# mode *hand* and click a point. Four things to find:
#
# 1. a weight at which the next step changes *two* layers at once;
# 2. a diamond, and in the mode *weight and target* a target that chooses it;
# 3. in the mode *deadline*, a deadline a hair's breadth before a drop in error: what would another hundredth of a
#    millisecond buy?
# 4. the layer that is the last to give up its convolution.

# %% tags=["widget"]
explorer = lk.widgets.explore(scene)
explorer

# %% [markdown]
# What you chose is a value in Python: run the next cell again after every change. It compares your choice with the
# most accurate architecture of all, layer by layer.

# %% tags=["keep_output"]
mine = study.space.architecture(explorer.architecture)
best = min(points, key=lambda p: (p.error, p.latency_ms))
compared = {"my choice": mine, "most accurate": best.architecture}
ax = lk.plots.layer_latency(study.table, compared)
lk.plots.picture(ax, f"Milliseconds a layer of {mine} beside those of {best.architecture}.")

# %%
parts, least_error_parts = (study.table.parts_ms(a) for a in (mine, best.architecture))
change = [a - b for a, b in zip(parts, least_error_parts)]
for layer, (ms, ours, theirs) in enumerate(zip(change, mine.ops, best.architecture.ops), start=1):
    if ours != theirs:
        print(f"layer {layer}: {ours} instead of {theirs}: {ms:+.3f} ms")
print(f"in all {sum(change):+.3f} ms for {100 * (explorer.point.error - best.error):.1f} points of error")

# %% [markdown]
# The explorer is drawn in the browser from numbers that were sent once; a key press asks nobody. A slider that asks
# Python for a new matplotlib figure at every step took some hundreds of times as long from key press to picture when
# both were measured for this course, most of it for drawing. It is the lesson of notebook 04 again: look where the
# time goes before you make something faster.
#
# ## How sure is a frontier?
#
# Each error here is a share of finitely many validation images, so it would come out a little differently on others.
# And a frontier *selects*: it prefers points that were lucky. Redraw every error as so many tosses of a coin with the
# recorded error, and see which of the points stay. (All were evaluated on the same images, so they share part of their
# luck; independent redraws exaggerate a little.)

# %%
images = study.made["config"]["evaluation_images"]
errors, times = (np.array([getattr(p, name) for p in points]) for name in ("error", "latency_ms"))
redrawn = np.random.default_rng(SEED).binomial(images, errors, size=(REDRAWS, len(points))) / images
order = np.lexsort((errors, times))  # fastest first
low = np.minimum.accumulate(redrawn[:, order], axis=1)  # the least error so far
stays = np.diff(low, axis=1, prepend=1.1) < 0  # a new low is a frontier point
share = dict(zip(order.tolist(), stays.mean(0)))
for i in every:
    print(f"{scene.points[i].ms:.3f} ms, {100 * scene.points[i].error:4.1f} %: in {share[i]:4.0%} of the redraws")
print(f"a redrawn frontier has {stays.sum(1).mean():.1f} points on average, the recorded one {len(every)}")

# %% [markdown]
# The ends are certain, and in between neighbours share a place. Treat a frontier as a band, not as a line of winners:
# whoever reports one point of it as "the best" has usually reported its luck as well. (The network that is chosen is
# therefore trained from scratch and tested on other images: notebook 07.)
#
# ## Where nobody can scan
#
# So far everything could be looked at. `mobile-tiny` has 3.6 million architectures: the minutes of one search evaluate
# two thousand of them on shared weights, or train a dozen. There the question of notebook 05 is open again: is the
# search, with its second stage (*sweep, selected*), better than luck? The course ships a study of it. The baselines
# choose on the same shared weights, but for *random from scratch*, which trains for as many seconds; and every network
# that anybody chose was trained and tested.

# %% tags=["predict"]
lk.course.predict(
    "p6.3",
    "At how many of four latency weights does the search cost less, on average, than each of its three baselines?",
    ["at none", "at one or two", "at three", "at all four"],
)

# %% tags=["keep_output"]
tiny = lk.benches.comparison.load("mobile-tiny-comparison")  # recorded
costs, weights, ours, what, says = lk.benches.comparison.drawn(tiny)  # in points, (seeds, weights) of each method
figure = lk.plots.comparison(costs, weights, ours, what, says)
lk.plots.picture(figure, "Test error + weight x ms of each method at four latency weights: a dot a seed.")

# %%
baselines = ("random", "evolution", "random from scratch")
print(f"test error + weight x ms, points, mean of {len(costs[ours])} seeds; p of each baseline against ours, paired")
print("weight    ours" + "".join(f"{baseline:>24}" for baseline in baselines))
for w, weight in enumerate(weights):
    mine = costs[ours][:, w]
    told = (f"{costs[r][:, w].mean():.1f} (p {lk.stats.sign_flips(costs[r][:, w] - mine):.3f})" for r in baselines)
    print(f"{weight:6g}  {mine.mean():6.1f}" + "".join(f"{text:>24}" for text in told))
means = {method: values.mean(0) for method, values in costs.items()}
ahead = [weight for w, weight in enumerate(weights) if means[ours][w] < min(means[r][w] for r in baselines)]
lk.course.reveal("p6.3", f"at {len(ahead)} of 4: " + ", ".join(f"{weight:g}" for weight in ahead))

# %% [markdown]
# **What to notice.** (1) Where a millisecond hardly counts, what was chosen lies a point or two apart. Shared weights
# do not order such networks, so a dozen drawn blindly and trained in full end ahead, on average, of all who trust
# them. (2) Where milliseconds count, blind draws are hopeless: most networks of this space are slow. (3) At the two
# largest weights evolution comes nearest, and in some seeds it ends at the very same network; a tie says nothing for
# either. (4) A mean that is ahead is not yet a proof: the least p that six pairs can give is 0.031, and only if all
# six say the same.
#
# ## A common wrong idea
#
# *"Sweep the latency weight finely enough and you get the whole frontier."* You counted what a weight can choose:
# however fine the sweep, only corners of the hull. What lies in a dent needs a target, a deadline, or a look
# at everything.
#
# ## What you take with you
#
# - **O6.1** The frontier is what no other point beats: no worse in both costs, better in one.
# - **O6.2** A deadline, a knee and an area are three questions to it. The area needs a common worst corner.
# - **O6.3** Weights choose the hull's corners only. A target reaches the dents, if overrunning it costs enough; a
#   deadline reaches all of them, and asks for no weight.
# - **O6.4** A choice is a list of layers. See which of them pays before you pay.
#
# **Next:** [07 deploy](07_deploy.ipynb) takes one point, trains it, exports it and puts it on the stopwatch.
#
# **References.** Zitzler, Thiele, *Multiobjective Evolutionary Algorithms*, IEEE TEC 1999 (hypervolume). Das, Dennis,
# *A Closer Look at Drawbacks of Minimizing Weighted Sums of Objectives*, Structural Optimization 1997 (dents). Vahdat
# et al., *UNAS*, CVPR 2020, arXiv 1912.07651 (the hinge). Cai et al., *Once-for-All*, ICLR 2020, arXiv 1908.09791 (one
# supernet, a frontier of deployments).
