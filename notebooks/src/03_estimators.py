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
# # 03. How do you differentiate a choice?
#
# A layer is a 5×5 convolution or a 3×3 convolution. There is nothing in between, so there is no gradient to follow. And
# yet the whole search of this course goes downhill by gradient. This notebook shows by which one, and how far you
# can trust the ways there are to estimate it.
#
# **Time** about 40 minutes, 15 of them for the two exercises. **Before this** [02 the supernet](02_supernet.ipynb); a
# little probability (an expectation, a logarithm).

# %% [markdown] tags=["objectives"]
# You will
#
# - **O3.1** *compute* the exact gradient of an expected cost by enumeration, and say why it exists although the cost
#   of a single choice has no gradient;
# - **O3.2** *write* REINFORCE and Gumbel-Softmax in a few lines each, and say what each asks of the cost;
# - **O3.3** *build* the UNAS estimator from its three terms, and say what each term is for;
# - **O3.4** *measure* the bias and the variance of five estimators against the exact gradient, and *defend* a choice.

# %% tags=["parameters"]
FAST = True  # 20,000 draws an estimator; False: 400,000, the same cells
SEED = 0  # of every draw
TEMPERATURE = 0.4  # of the relaxed samples; the published value

# %% tags=["setup"]
import copy

import torch
import torch.nn.functional as F

import labkit as lk
from labkit.estimators import gradient_estimators

torch.set_num_threads(1)  # the numbers below are few: sharing them out would take longer than adding them up
lk.course.start("03", seed=SEED)
DRAWS, REPEATS = 200, 100 if FAST else 2_000  # an estimate is a mean over DRAWS draws

# %% [markdown]
# ## A cost small enough to know everything about
#
# Estimators are evaluated by the answer they should have given, so we take a cost whose answer can be worked out: the
# space of 243 architectures from notebook 01, and in place of images a vector of 8 numbers that passes five layers.
# Each layer adds the output of its candidates, weighted by the *op weights*, as the supernet of notebook 02 does. The
# cost is the cross-entropy at the end. It takes one-hot op weights (an architecture) and relaxed ones (a mixture).
#
# In shapes: N draws, S = 5 slots, K = 3 candidates.

# %%
toy = torch.Generator().manual_seed(0)  # the toy's own numbers stay the same whatever SEED is
matrices = 0.3 * torch.randn(5, 3, 8, 8, generator=toy, dtype=torch.float64)  # one a candidate
start = torch.randn(8, generator=toy, dtype=torch.float64)
readout = torch.randn(8, 6, generator=toy, dtype=torch.float64)
target = torch.tensor(0)


def cost(weights):
    """Cross-entropy in nats (N,) of op weights (N, S, K)."""
    h = start.expand(len(weights), 8)
    for s in range(5):
        outputs = torch.tanh(torch.einsum("nd,kde->nke", h, matrices[s]))  # of all three candidates
        h = h + (weights[:, s, :, None] * outputs).sum(1)  # their weighted sum
    return F.cross_entropy(h @ readout, target.expand(len(h)), reduction="none")


# %% [markdown]
# The *distribution* over architectures is a matrix of logits α (`dist.logits`, shape `(S, K)`): a softmax over each
# row gives the probability of each candidate in that slot. A search begins with all logits at 0; here they are
# somewhere on the way, so that no symmetry makes things easier than they are.

# %%
space = lk.spaces.five_layer()
dist = lk.ArchDistribution(space).double()
with torch.no_grad():
    dist.logits.copy_(0.5 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
everything = torch.stack([space.encode(a) for a in space]).double()  # (243, S, K)
all_costs = cost(everything)  # (243,)
print(dist.probs().detach().numpy().round(2))
print(f"243 costs between {all_costs.min():.2f} and {all_costs.max():.2f} nats, mean {all_costs.mean():.2f}")

# %% [markdown]
# ## What has a gradient is the mean
#
# Move one logit a little, draw an architecture, and its cost is one of 243 fixed numbers: it stays or it jumps. But
# the probability of each of them changes smoothly, so the **expected cost** does too:
#
# $$ J(\alpha) = \mathbb{E}_{z \sim p_\alpha}[L(z)] = \sum_{z} p_\alpha(z)\, L(z), \qquad
# \nabla J = \sum_z L(z)\, \nabla p_\alpha(z) $$
#
# with $z$ an architecture as one-hot op weights, $L$ its cost (`cost`) and $p_\alpha(z)$ its probability. This is what
# a search descends. The figure moves one logit of layer 1 and leaves the other fourteen alone.

# %% tags=["keep_output"]
values, means, draws = torch.linspace(-4, 4, 41), [], []
moved = copy.deepcopy(dist)
for i, value in enumerate(values):
    moved.logits.data[0, 1] = value  # conv3x3 in layer 1
    probability = (everything * moved.log_probs()).sum((-1, -2)).exp().detach()
    means.append((probability * all_costs).sum())
    draws.append(cost(moved.sample(12, 1.0, torch.Generator().manual_seed(SEED + i)).hard))
ax = lk.plots.axes()
ax.plot(values.repeat_interleave(12), torch.cat(draws), ".", ms=3, color=lk.plots.GREY)
ax.plot(values, means, color=lk.plots.ORANGE, lw=2.5)
ax.text(4, means[-1] + 0.9, "expected cost, exact", ha="right", backgroundcolor="white")
ax.set(xlabel="logit of conv3x3 in layer 1", ylabel="cost (nats); dots: single draws")
lk.plots.picture(ax, "Costs of single draws jump between fixed values; their mean moves smoothly.")

# %% [markdown]
# With 243 terms the sum can simply be worked out, and automatic differentiation gives its gradient. By hand, then by
# name:

# %%
probability = (everything * dist.log_probs()).sum((-1, -2)).exp()  # (243,), they sum to 1
expected = (probability * all_costs).sum()
(by_hand,) = torch.autograd.grad(expected, dist.logits)

exact = gradient_estimators.exact_gradient(cost, dist)
assert torch.allclose(by_hand, exact)
print(f"expected cost {expected:.3f} nats; its gradient, a row a layer:\n{exact.numpy().round(3)}")

# %% [markdown]
# Each row sums to zero: adding the same number to all logits of a slot changes no probability.
#
# This is the exact gradient for the rest of the notebook. A real space has $10^{17}$ architectures and each cost is a
# pass through a network, so there the gradient must be *estimated* from a few draws.
#
# ## REINFORCE: no gradient needed
#
# Because $\nabla p = p\, \nabla \log p$,
#
# $$ \nabla J = \mathbb{E}\big[\, L(z)\; \nabla \log p_\alpha(z) \,\big] $$
#
# Draw some architectures, make the costly ones less likely and the cheap ones more likely, each in proportion to its
# cost. The cost is only ever *evaluated*: it may be a stopwatch. In six lines:

# %%
generator = torch.Generator().manual_seed(SEED)
sample = dist.sample(DRAWS, TEMPERATURE, generator)
value = cost(sample.hard)  # L(z), (N,)
surrogate = (value * sample.log_prob).mean()  # its gradient is the estimate
(by_hand,) = torch.autograd.grad(surrogate, dist.logits)

generator = torch.Generator().manual_seed(SEED)  # the same draws again
by_name = gradient_estimators.Reinforce(baseline="none")(cost, dist, DRAWS, generator).gradient
assert torch.allclose(by_hand, by_name)
print(f"layer 1, exact:                    {exact[0].numpy().round(2)}")
print(f"layer 1, REINFORCE from {DRAWS} draws: {by_name[0].numpy().round(2)}")

# %% tags=["predict"]
lk.course.predict(
    "p3.1",
    "We add 10 nats to the cost of every architecture. The exact gradient stays the same. And REINFORCE's estimates?",
    ["Same mean, same spread", "Same mean, larger spread", "Another mean"],
)

# %% [markdown]
# To answer, an estimate is repeated many times and compared with the exact gradient. Three numbers say how good an
# estimator is: **bias**, how far the mean of its estimates is from the exact gradient; **noise**, how far a mean of so
# many estimates would be from it by chance alone; **variance**, how much a single draw scatters. As a check on the
# bias, the largest deviation of any logit is counted in standard errors (its *z-score*): 15 logits reach 2 or 3 by
# chance, and 4 hardly ever.


# %%
def trial(estimator, cost=cost, control=None, repeats=REPEATS):
    """Repeated estimates (R, S, K), each from DRAWS draws."""
    generator = torch.Generator().manual_seed(SEED)
    estimates = [estimator(cost, dist, DRAWS, generator, control) for _ in range(repeats)]
    return torch.stack([estimate.gradient for estimate in estimates])


def quality(estimates, exact=exact):
    """Distance from the exact gradient, as a fraction of its length; variance of one draw, in nats squared."""
    off = estimates.mean(0) - exact
    standard_error = estimates.std(0) / len(estimates) ** 0.5
    return {
        "bias": (off.norm() / exact.norm()).item(),
        "noise": (standard_error.norm() / exact.norm()).item(),
        "worst z": (off / standard_error).abs().max().item(),
        "variance": DRAWS * estimates.var(0).sum().item(),
    }


# %%
for name in ("none", "running-mean"):
    for added in (0, 10):
        q = quality(trial(gradient_estimators.Reinforce(name), lambda weights, a=added: cost(weights) + a))
        print(f"baseline {name:12}  cost + {added:2}:  worst z {q['worst z']:.1f}, variance {q['variance']:6.1f}")
lk.course.reveal("p3.1", "same mean, larger spread, unless a baseline takes the constant away again")

# %% [markdown]
# The mean of $\nabla \log p$ is zero, so a constant cannot move the estimate; it only multiplies the noise. That also
# means that a constant may be *subtracted*: a **baseline**, such as the mean of the costs seen so far. It costs
# nothing, and it is the first thing to add to REINFORCE. Keep it in mind: a comparison with REINFORCE *without* a
# baseline flatters everybody.
#
# ## Gumbel-Softmax: use the gradient
#
# REINFORCE treats the cost as a black box, though ours has a gradient in the op weights. Gumbel-Softmax uses it.
# Draw noise $g$, and the perturbed logits give an architecture and its relaxation from the same noise:
#
# $$ h = \log p_\alpha + g, \qquad z = \text{one-hot}(\arg\max h), \qquad \zeta = \mathrm{softmax}(h / \tau) $$
#
# $z$ is an exact draw (`sample.hard`), and $\zeta$ (`sample.soft`) is a smooth function of α with the temperature τ.
# By hand, for one slot:

# %%
u = torch.rand(20_000, 3, generator=generator, dtype=torch.float64)
h = dist.log_probs()[0].detach() - (-u.log()).log()  # -log(-log u) is Gumbel noise
share = torch.bincount(h.argmax(-1), minlength=3) / len(h)
print(f"probabilities of layer 1:     {dist.probs()[0].detach().numpy().round(2)}")
print(f"shares of argmax, {len(h):,} h: {share.numpy().round(2)}")
for tau in (0.1, 0.4, 1.0):
    print(f"one draw relaxed at temperature {tau}: {(h[0] / tau).softmax(-1).numpy().round(3)}")

# %% [markdown]
# The estimate is the gradient of $L(\zeta)$: one pass backward through the mixture. It is quiet. Is it right?

# %%
sample = dist.sample(DRAWS, TEMPERATURE, torch.Generator().manual_seed(SEED))
(by_hand,) = torch.autograd.grad(cost(sample.soft).mean(), dist.logits)

generator = torch.Generator().manual_seed(SEED)  # the same draws again
by_name = gradient_estimators.GumbelSoftmax(TEMPERATURE)(cost, dist, DRAWS, generator).gradient
assert torch.allclose(by_hand, by_name)
print(f"layer 1, exact:                         {exact[0].numpy().round(2)}")
print(f"layer 1, Gumbel-Softmax from {DRAWS} draws: {by_name[0].numpy().round(2)}")

# %% tags=["predict"]
lk.course.predict(
    "p3.2",
    "Average 20,000 draws of the Gumbel-Softmax gradient. Where does the mean go?",
    ["To the exact gradient, only slowly", "Somewhere else, however many draws"],
)

# %%
gumbel, reinforce = trial(gradient_estimators.GumbelSoftmax(TEMPERATURE)), trial(gradient_estimators.Reinforce())
q = quality(gumbel)
print(f"variance of a draw {q['variance']:.1f}; REINFORCE with a baseline {quality(reinforce)['variance']:.1f}")
print(f"distance from the exact gradient {q['bias']:.1%}; noise alone would make about {q['noise']:.1%}")
lk.course.reveal("p3.2", f"somewhere else: one logit is {q['worst z']:.0f} standard errors off")

# %% [markdown]
# It is the exact gradient of another question, the expected cost of *mixtures*, and a mixture of two candidates may be
# cheap where both alone are costly. More draws do not help.
#
# ## UNAS: the sum of both, and a term that makes it right
#
# | symbol | variable | what it is |
# | --- | --- | --- |
# | $L(z)$ | `value` | cost of the drawn architecture; may be a black box |
# | $\zeta$ | `sample.soft` | relaxed draw, moves with α at fixed noise |
# | $\tilde\zeta$ | `sample.soft_given_hard` | relaxed draw *given* that $z$ was drawn, moves with α at that noise |
# | $c(\cdot)$ | `control` | a differentiable stand-in for the cost; here the cost itself |
#
# $$ \nabla J = \mathbb{E}\Big[
# \underbrace{\big(L(z) - c(\tilde\zeta)\big)\, \nabla \log p_\alpha(z)}_{\text{(i) score function}}
# \; \underbrace{-\; \nabla_\alpha\, c(\tilde\zeta)}_{\text{(ii) correction}}
# \; \underbrace{+\; \nabla_\alpha\, c(\zeta)}_{\text{(iii) pathwise}} \Big] $$
#
# - **(i)** is REINFORCE with a baseline that knows the draw: what is left of the cost when the control has been
#   subtracted. The better the control follows the cost, the less there is to scatter.
# - **(iii)** is Gumbel-Softmax: it puts the control's own gradient back, which (i) has taken away.
# - **(ii)** is needed because the control in (i) depends on α in a second way, through the relaxation. Without it (i)
#   and (iii) do not balance.
#
# The noise is chosen so that $\tilde\zeta = \zeta$ *in value*: one draw, one mixed pass, and only the gradients differ.

# %%
sample = dist.sample(DRAWS, TEMPERATURE, torch.Generator().manual_seed(SEED))
value = cost(sample.hard)  # L(z)
soft_cost, given_cost = cost(sample.soft), cost(sample.soft_given_hard)  # control of both relaxed draws

terms = {
    "(i) score": ((value - soft_cost).detach() * sample.log_prob).mean(),
    "(ii) correction": -given_cost.mean(),
    "(iii) pathwise": soft_cost.mean(),
}
slope = lambda term: torch.autograd.grad(term, dist.logits, retain_graph=True)[0]
parts = {name: slope(term) for name, term in terms.items()}

generator = torch.Generator().manual_seed(SEED)  # the same draws again
by_name = gradient_estimators.Unas(TEMPERATURE)(cost, dist, DRAWS, generator).gradient
assert torch.allclose(sum(parts.values()), by_name)
for name, part in {**parts, "sum, as Unas gives it": by_name, "exact": exact}.items():
    print(f"{name:21} layer 1: {part[0].numpy().round(2)}")
print(f"the two relaxed draws differ by at most {(sample.soft - sample.soft_given_hard).abs().max():.0e}")

# %% [markdown]
# Now leave the correction out and see what it was for. Each panel below compares the mean of the same number of draws
# with the exact gradient (the line at 0); a bar is two standard errors, a square is more than four away.


# %%
class NoCorrection(gradient_estimators.Unas):
    """Terms (i) and (iii) only."""

    def __call__(self, cost, dist, n, generator, control=None):
        sample = dist.sample(n, self.temperature, generator)
        value, relaxed = cost(sample.hard), (control or cost)(sample.soft)
        surrogate = ((value - relaxed).detach() * sample.log_prob + relaxed).mean()
        return gradient_estimators.Estimate(torch.autograd.grad(surrogate, dist.logits)[0], value.mean().item())


# %% tags=["keep_output"]
without, unas = trial(NoCorrection(TEMPERATURE)), trial(gradient_estimators.Unas(TEMPERATURE))
shown = {"Gumbel-Softmax": gumbel, "UNAS without (ii)": without, "UNAS": unas}
lk.plots.picture(
    lk.plots.gradient_bias(shown, exact),
    "Gumbel-Softmax and UNAS without its correction miss the exact gradient; UNAS does not.",
)

# %% [markdown]
# **What to notice.** The first two panels have logits far from the line, and not by chance. In the third the bars
# reach over the line as they should: about 19 times in 20.
#
# ## Exercise e3.1: the surrogate (O3.3)
#
# Autograd wants one number per draw whose gradient is the estimate: a *surrogate*. Write UNAS's. `value` has no
# gradient; `log_prob`, `soft_cost` = $c(\zeta)$ and `given_cost` = $c(\tilde\zeta)$ have one each.


# %% tags=["exercise"]
def unas_surrogate(value, log_prob, soft_cost, given_cost):
    """(N,) numbers whose mean has the UNAS estimate as its gradient. All arguments are (N,)."""
    # stub: return None
    # solution
    return (value - soft_cost).detach() * log_prob - given_cost + soft_cost
    # end solution


# %% tags=["check"]
lk.course.check("e3.1", unas_surrogate)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>Three terms, three summands. Look at the cell that made <code>terms</code>: it
# takes means one by one, you return the sum draw by draw.</details>
# <details><summary>Hint 2</summary>In term (i) only <code>log_prob</code> may carry a gradient. What stands before it
# is a plain number for each draw: <code>.detach()</code> makes it so.</details>
# <details><summary>Hint 3</summary><code>(value - soft_cost).detach() * log_prob</code> is term (i). Subtract
# <code>given_cost</code> for (ii) and add <code>soft_cost</code> for (iii).</details>

# %% [markdown]
# If you are stuck, go on: from here the notebook uses `gradient_estimators.Unas`, where the same three terms stand in
# two lines.
#
# ## A wrong control costs variance, never bias
#
# The control need not be the cost. That is what a latency needs: the cost is a stopwatch, the control a table that
# adds up the layers. Here the cost gets a *deadline* that has no gradient at all, and three controls are tried.

# %%
ms = torch.tensor([[3.0, 2.0, 1.0]] * 5, dtype=torch.float64)  # a made-up table, for the deadline's sake


def with_deadline(weights):
    return cost(weights) + 4.0 * ((weights * ms).sum((-1, -2)) > 10)  # a step: late is late


def wrong(weights):
    return 4.0 * (weights * matrices[0, :, :5, 0].T).sum((-1, -2))  # has nothing to do with the cost


exact = gradient_estimators.exact_gradient(with_deadline, dist)
zero = lambda weights: 0 * weights.sum((-1, -2))
for name, control in {"the smooth part": cost, "zero": zero, "wrong": wrong}.items():
    q = quality(trial(gradient_estimators.Unas(TEMPERATURE), with_deadline, control), exact)
    print(f"control = {name:16} worst z {q['worst z']:.1f}   variance {q['variance']:6.1f}")

# %% [markdown]
# All three are right on average; a good control is worth a factor, a bad one costs one. With control = 0 UNAS *is*
# REINFORCE without a baseline, with control = cost it is REBAR at scale 1 (REBAR proper tunes the scale as well), and
# its last term alone is Gumbel-Softmax. One formula, one screen (`estimators/gradient_estimators.py`, and
# `??gradient_estimators.Unas` here).
#
# ## Five estimators side by side

# %% tags=["keep_output"]
unchanging = {
    "REINFORCE, no baseline": quality(trial(gradient_estimators.Reinforce("none"))),
    "REINFORCE": quality(reinforce),  # neither has a temperature
}


def compare(temperature):
    return unchanging | {
        "Gumbel-Softmax": quality(trial(gradient_estimators.GumbelSoftmax(temperature))),
        "REBAR, scale 0.7": quality(trial(gradient_estimators.Rebar(temperature, scale=0.7))),
        "UNAS": quality(trial(gradient_estimators.Unas(temperature))),
    }


rows = compare(TEMPERATURE)
lk.plots.picture(
    lk.plots.bias_and_variance(rows),
    "Only Gumbel-Softmax is biased, and it scatters least; UNAS and REBAR scatter less than REINFORCE.",
)

# %% [markdown]
# ### Four things to turn
#
# The **temperature** decides how close a relaxed draw is to an architecture. The **scale** multiplies the control in
# all three terms: 1 is UNAS as published, 0 leaves REINFORCE without a baseline, and another constant is the η of
# REBAR. The **draws** of an estimate, and the **terms** that are kept. With a copy of the logits for every draw, one
# backward pass gives each term's gradient draw by draw, and all settings follow from those.


# %%
def draw_by_draw(temperature, draws=20_000):
    """Gradient of each term, (draws, S, K)."""
    each = copy.deepcopy(dist)
    each.logits = torch.nn.Parameter(dist.logits.detach().repeat(draws, 1, 1))
    sample = each.sample(1, temperature, torch.Generator().manual_seed(SEED))
    hard, soft, given, log_prob = (part[0] for part in sample)
    value, soft_cost = cost(hard), cost(soft)
    terms = {"value": value * log_prob, "control": -soft_cost.detach() * log_prob}  # term (i), in two
    terms |= {"(ii)": -cost(given), "(iii)": soft_cost}
    slope = lambda term: torch.autograd.grad(term.sum(), each.logits, retain_graph=True)[0]
    return {name: slope(term) for name, term in terms.items()}


parts = {temperature: draw_by_draw(temperature) for temperature in (0.1, 0.4, 1.0, 2.0)}
kept = {"(i) + (ii) + (iii)": ("control", "(ii)", "(iii)"), "(i) + (iii)": ("control", "(iii)")}


def estimate(terms, temperature, scale, draws):
    """Estimates (R, S, K) of so many draws each."""
    part = parts[temperature]
    made = part["value"] + scale * sum(part[name] for name in kept[terms]) if terms in kept else part["(iii)"]
    return made.reshape(-1, draws, 5, 3).mean(1)


# %% [markdown]
# Each dot is an estimate, in the plane of the exact gradient and of Gumbel-Softmax's error. *Both* is what an estimate
# is off by altogether. Find out: which of the other controls move the bias of the full sum, and which its spread? Which
# terms are best with 20 draws, and which with 1,000?

# %% tags=["widget"]
lk.widgets.switches(
    {
        "terms": [*kept, "(iii), Gumbel-Softmax"],
        "temperature": sorted(parts),
        "scale of the control": [0.0, 0.5, 1.0, 1.5],
        "draws": [20, 200, 1_000],
    },
    lambda *chosen: lk.plots.against_exact(estimate(*chosen), exact, parts[1.0]["(iii)"].mean(0), most=160),
    {"temperature": 0.4, "scale of the control": 1.0, "draws": 200},
    alt=lambda *chosen: "{} at temperature {}, scale {}, {} draws: estimates around the exact gradient".format(*chosen),
)

# %%
for terms in (*kept, "(iii), Gumbel-Softmax"):
    for draws in (20, 1_000):
        estimates_now = estimate(terms, TEMPERATURE, 1.0, draws)
        off = (estimates_now - exact).square().sum((-1, -2)).mean().sqrt() / exact.norm()
        print(f"{terms:22} {draws:5,} draws: an estimate is {off:.0%} off, bias and spread together")

# %% [markdown]
# **What to notice**, with or without the controls. Nothing moves the bias of the full sum: the temperature and the
# scale change its spread alone, and more draws make that smaller. Without (ii), and for Gumbel-Softmax, the cross
# stands beside the arrow's tip, and it stays there however many draws there are. With few draws the quiet, biased
# Gumbel-Softmax is nearest; with many the unbiased sum is.
#
# Cold, Gumbel-Softmax loses its bias and gains spread, until it is no quieter than the others. Hot, it is very quiet
# and very wrong. UNAS scatters least at 0.4 to 1, and at 0.1 more than REINFORCE with its baseline.
#
# ## An honest baseline
#
# On *this* cost the control follows well, because each layer only adds to what came before. Take the cost without that
# (`h = ` in place of `h = h + `), where mixtures say little about architectures:


# %%
def rough(weights):
    h = start.expand(len(weights), 8)
    for s in range(5):
        outputs = torch.tanh(torch.einsum("nd,kde->nke", h, 1.5 * matrices[s]))
        h = (weights[:, s, :, None] * outputs).sum(1)  # nothing carried over
    return F.cross_entropy(h @ readout, target.expand(len(h)), reduction="none")


for name, baseline in (("REINFORCE", gradient_estimators.Reinforce()), ("UNAS", gradient_estimators.Unas(TEMPERATURE))):
    smooth, uneven = trial(baseline), trial(baseline, rough)
    on_rough = quality(uneven, gradient_estimators.exact_gradient(rough, dist))["variance"]
    print(f"{name:10} variance {quality(smooth)['variance']:5.1f} on the first cost, {on_rough:5.1f} on the rough one")

# %% [markdown]
# UNAS wins on the first and loses on the second. And its draw costs more. REINFORCE needs one one-hot pass. UNAS needs
# a mixed pass with its gradient as well: three candidates, each forward and backward (about three times a forward), so
# some nine one-hot passes. It pays when the mixed pass is wanted anyway, to train the shared weights, as in notebook
# 05. So never compare with REINFORCE in its worst form. Give it its best:
#
# ## Exercise e3.2: a better baseline (O3.2, O3.4)
#
# With N draws at hand, each draw's baseline can be the mean cost of the *other* draws. Write the surrogate.


# %% tags=["exercise"]
def leave_one_out(value, log_prob):
    """(N,) surrogates of REINFORCE; each draw's baseline is the mean of the other N - 1 values."""
    # stub: return None
    # solution
    others = (value.sum() - value) / (len(value) - 1)
    return (value - others) * log_prob
    # end solution


# %% tags=["check"]
lk.course.check("e3.2", leave_one_out)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>The sum of the others is the sum of all minus the draw's own value. No loop is
# needed.</details>
# <details><summary>Hint 2</summary>There are <code>len(value) - 1</code> others.</details>
# <details><summary>Hint 3</summary><code>others = (value.sum() - value) / (len(value) - 1)</code>, and the surrogate
# is <code>(value - others) * log_prob</code>.</details>

# %% [markdown]
# Why not simply the mean of all N? Because a draw's own value is in it, and then the baseline knows the draw: the
# estimate shrinks by 1/N. With two draws that is half.


# %%
def two_draws(baseline):
    """Mean of many REINFORCE estimates from two draws each; `baseline` maps values (R, 2) to (R, 2)."""
    sample = dist.sample(DRAWS * REPEATS, 1.0, torch.Generator().manual_seed(SEED))
    value = cost(sample.hard).reshape(-1, 2)
    surrogate = (value - baseline(value)) * sample.log_prob.reshape(-1, 2)
    return torch.autograd.grad(surrogate.mean(), dist.logits)[0]


of_both, the_other = lambda v: v.mean(1, keepdim=True), lambda v: v.flip(1)
for name, baseline in {"mean of both": of_both, "the other": the_other}.items():
    along = (two_draws(baseline) * exact).sum() / (exact * exact).sum()
    print(f"baseline = {name:13} {along:.2f} of the exact gradient's length")

# %% [markdown]
# ## What every run must say

# %% tags=["keep_output", "nbval-check-output"]
for name, estimates in {**shown, "REINFORCE": reinforce}.items():
    print(f"{name}: within four standard errors of the exact gradient? {quality(estimates)['worst z'] < 4}")

# %% [markdown]
# ## The whole witness stand
#
# Five estimators on one problem are an anecdote. The course ships the record of a bench: every estimator of the library
# on problems whose gradient can be enumerated, real measured latencies and the benchmark of all 243 trained networks
# among them, with hundreds of thousands of draws a row. `labkit bench estimators` makes it again. Two in it are new
# here. *Straight-through* runs the one-hot draw forward and takes the relaxed draw's gradient backward; *DARTS softmax*
# draws nothing, and differentiates the mixture at the probabilities themselves.

# %%
stand = lk.benches.estimators.load()  # recorded
honest, biased = ([row for row in stand if row.unbiased is kind] for kind in (True, False))
worst = max(honest, key=lambda row: row.worst_z)
print(f"{len(stand)} rows on {len({row.problem for row in stand})} problems")
print(f"unbiased estimators: at worst {worst.worst_z:.1f} standard errors off in a logit ({worst.samples:,} draws)")
for name in dict.fromkeys(row.estimator for row in biased):
    off = [row.bias for row in biased if row.estimator == name]
    print(f"{name}: {100 * min(off):.1f} to {100 * max(off):.0f} % off")

# %% tags=["keep_output"]
four = ("toy network", "mixture trap", "measured latency", "tabular benchmark")
lk.plots.picture(
    lk.plots.estimator_bench([row for row in stand if row.problem in four]),
    "Variance times cost of every estimator on four problems; the biased ones hatched, with their bias.",
)

# %% [markdown]
# A bar is the price of certainty: the variance of one draw times the forward passes that a draw costs. Half the price
# is half the computing for the same error bar, so compare bars, but only those that are not hatched. (A mixed pass
# counts as all candidates, forward and backward, as if it were made for the gradient alone.) Find
#
# 1. the problems on which REINFORCE with a leave-one-out baseline is the cheapest unbiased estimator: is it its
#    variance that wins, or the price of its draw?
# 2. the problem on which the *closed form* has no variance at all, and what its control must be like there;
# 3. the estimator that is exact on the benchmark and a third off or more on every network: what is special about how
#    a table is relaxed?
#
# And mind the last hatched bar of the first problem: candidates of small weight were left out of the mixture to save
# time. Two per cent look harmless, and no amount of draws takes them away.
#
# ## Defend a choice (O3.4)
#
# Which estimator would you take, and what would you say to someone who disagrees? Decide before you open the answers.
#
# <details><summary>The cost is a stopwatch, and nothing differentiable follows it.</summary>REINFORCE with the mean of
# the other draws as its baseline: without a control there is nothing more to use.</details>
# <details><summary>The cost is a stopwatch, and a table of layer times follows it closely.</summary>UNAS with the
# table as its control. The table may be wrong; then it costs variance.</details>
# <details><summary>The cost is a supernet's loss, and the mixed pass is made anyway to train its
# weights.</summary>UNAS: its only extra is the one-hot pass. Gumbel-Softmax is cheaper still and biased; take it if
# you can say by how much.</details>
#
# ## A common wrong idea
#
# *"Gumbel-Softmax has the lowest variance, so it gives the best gradient."* Low variance says that the estimates agree
# with each other, not with the exact gradient: see the squares in the figure "UNAS without (ii)" and its neighbour.
# Whether a bias of that size hurts a *search* is another question: run the search of notebook 05 with
# `lk.SearchConfig(estimator="gumbel")` and see.
#
# ## What you take with you
#
# - **O3.1** A choice has no gradient; its expected cost has one, and on a small space it can be enumerated.
# - **O3.2** REINFORCE evaluates the cost and needs a baseline. Gumbel-Softmax differentiates a relaxation: quiet,
#   biased.
# - **O3.3** UNAS = score function of what the control leaves over, minus a correction, plus the control's own gradient.
#   Unbiased whatever the control is.
# - **O3.4** Evaluate an estimator by bias *with its error bar*, variance and price, against the best form of its
#   baselines.
#
# **Next:** [04 latency, honestly](04_latency.ipynb) takes the cost that has no gradient at all: a stopwatch.
#
# **References.** Williams 1992 (REINFORCE). Jang, Gu, Poole 2017 and Maddison, Mnih, Teh 2017 (Gumbel-Softmax). Tucker
# et al. 2017 (REBAR). Grathwohl et al. 2018 (RELAX). Kool, van Hoof, Welling 2019 (leave-one-out baseline). Vahdat,
# Mallya, Liu, Kautz, *UNAS: Differentiable Architecture Search Meets Reinforcement Learning*, CVPR 2020, arXiv
# 1912.07651.
