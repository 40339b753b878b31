"""Estimates of a gradient compared with the exact one."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from labkit.benches.estimators import Row
from labkit.plots.canvas import BLACK, BLUE, GREY, ORANGE, TINTS, grid_of_axes, styled


@styled
def gradient_bias(estimates: Mapping[str, torch.Tensor], exact: torch.Tensor) -> Figure:
    """Draw mean estimate minus exact gradient, logit by logit, with two standard errors; a panel an estimator.

    Deviations of more than four standard errors are squares.

    Args:
        estimates: name -> (R, S, K), R independent estimates.
        exact: (S, K) the exact gradient.

    Returns:
        The figure.
    """
    table = grid_of_axes(1, len(estimates), width=2.5 * len(estimates), height=3, sharey=True)
    slots, candidates = exact.shape
    at = (np.arange(slots)[:, None] * (candidates + 1) + np.arange(candidates)).ravel()
    for ax, (name, repeats) in zip(table.flat, estimates.items()):
        off = (repeats.mean(0) - exact).flatten().numpy()
        error = (repeats.std(0) / len(repeats) ** 0.5).flatten().numpy()
        far = np.abs(off) > 4 * error
        ax.axhline(0, color=BLACK, lw=1)
        for rows, mark, colour in ((~far, "o", BLUE), (far, "s", ORANGE)):
            ax.errorbar(at[rows], off[rows], 2 * error[rows], fmt=mark, color=colour, ms=4, elinewidth=1)
        ax.set_title(f"{name}\n{far.sum()} of {far.size} logits off", fontsize=9)
        ax.set_xticks(at.reshape(slots, -1).mean(1), [str(s + 1) for s in range(slots)])
        ax.set_xlabel("layer (three logits each)" if candidates == 3 else "layer")
    table[0, 0].set_ylabel("mean estimate − exact (nats)")
    return table[0, 0].figure


@styled
def bias_and_variance(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw each estimator's relative bias, with the noise behind it, and its variance a draw.

    Args:
        rows: name -> "bias" and "noise" as fractions of the exact gradient's norm, "variance" summed over the logits.

    Returns:
        The figure, of two panels.
    """
    left, right = grid_of_axes(1, 2, width=7.2, height=1.1 + 0.36 * len(rows), sharey=True)[0]
    at = np.arange(len(rows))
    bias, noise, variance = (np.array([row[key] for row in rows.values()]) for key in ("bias", "noise", "variance"))
    seen = bias > 2 * noise
    left.barh(at, 200 * noise, 0.7, color="#DDDDDD")
    left.plot(100 * bias[~seen], at[~seen], "o", color=BLUE)
    left.plot(100 * bias[seen], at[seen], "s", color=ORANGE)
    left.set_xlabel("distance from the exact gradient (%)\ngrey: what noise alone could make")
    right.barh(at, variance, 0.6, color=[ORANGE if b else BLUE for b in seen])
    for y, value in enumerate(variance):
        right.text(value, y, f" {value:.3g}", va="center", fontsize=8)
    right.set(xscale="log", xlabel="variance of one draw (nats², summed)")
    right.set_xlim(min(variance) / 2, 4 * max(variance))
    left.set_xlim(0, None)
    left.set_yticks(at, list(rows))
    left.invert_yaxis()
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
    return left.figure


@styled
def against_exact(estimates: torch.Tensor, exact: torch.Tensor, across: torch.Tensor, most: float) -> Figure:
    """Draw estimates around the exact gradient, which is an arrow, and bars of their bias and of their spread.

    The plane is spanned by the exact gradient and by the part of `across` at right angles to it; lengths are in units
    of the exact gradient's length.

    Args:
        estimates: (R, S, K), R independent estimates; their mean is the cross.
        exact: (S, K) the exact gradient.
        across: (S, K) some direction that matters, such as a bias.
        most: end of the bars' axis, in %, so that several such figures can be compared.

    Returns:
        The figure, of two panels.
    """
    left, right = grid_of_axes(1, 2, width=7.6, height=2.7, width_ratios=(1.2, 1))[0]
    length = exact.norm()
    along = exact / length
    normal = across - (across * along).sum() * along
    normal = normal / normal.norm()
    seen = torch.stack([(estimates * axis).sum((-1, -2)) for axis in (along, normal)], 1) / length
    left.plot(*seen[:200].T.numpy(), ".", ms=3, color=GREY, alpha=0.7)
    left.annotate(
        "", (1, 0), (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2.5, "color": BLACK, "shrinkA": 0, "shrinkB": 0}
    )
    left.plot(*seen.mean(0).numpy(), "X", ms=8, color=ORANGE, mec="white")
    left.set(xlim=(-0.6, 2.6), ylim=(-1.1, 1.1), aspect="equal")
    left.set(xlabel="along the exact gradient (arrow)", ylabel="across it", title="dots: estimates; cross: their mean")
    bias, spread, chance = (
        (100 * x.norm() / length).item()
        for x in (estimates.mean(0) - exact, estimates.std(0), estimates.std(0) / len(estimates) ** 0.5)
    )
    bars = {"bias": bias, "spread": spread, "both": math.hypot(bias, spread)}
    sure = bias > 2 * chance
    right.barh(0, 2 * chance, 0.8, color="#DDDDDD")
    right.barh(list(bars), list(bars.values()), 0.45, color=[ORANGE if sure else BLUE, BLUE, GREY])
    for y, value in enumerate(bars.values()):
        right.text(min(max(value, 2 * chance * (y == 0)), most), y, f" {value:.2g} %", va="center", fontsize=8)
    right.set(xlim=(0, 1.25 * most), ylim=(2.6, -0.6))
    right.set_xlabel("% of the exact gradient's length\ngrey behind: by chance")
    right.grid(axis="y", visible=False)
    return left.figure


@styled
def estimator_bench(rows: Sequence[Row], temperature: float = 0.4) -> Figure:
    """Draw for each problem what each estimator's variance costs: variance of a draw times its forward passes.

    Biased estimators are hatched, with their bias; one without any variance is written rather than drawn.

    Args:
        rows: as the bench of estimators returns them.
        temperature: rows at other temperatures are left out.

    Returns:
        The figure, a panel a problem.
    """
    usual = [row for row in rows if row.softening == 0 and row.temperature in (None, temperature)]
    names = list(dict.fromkeys(row.problem for row in usual))
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    table = grid_of_axes(lines, columns, width=9.5, height=0.6 + 2.6 * lines)
    for ax, name in zip(table.flat, names):
        here = [row for row in usual if row.problem == name][::-1]
        prices = [row.variance * row.passes for row in here]
        drawn = [price for price in prices if price > 1e-12]
        left = min(drawn) / 3
        for y, (row, price) in enumerate(zip(here, prices)):
            biased = not row.unbiased
            off = 100 * row.bias
            note = f"{off:.{0 if off >= 10 else 1}f} % off" if biased else ""
            if price > 1e-12:
                ax.barh(y, price - left, left=left, color=TINTS[0] if biased else BLUE, hatch="//" if biased else "",
                        edgecolor=ORANGE if biased else BLUE)  # fmt: skip
            else:
                note = ", ".join(filter(None, ("no variance", note)))
            ax.text(max(price, left) * 1.15, y, note, va="center", fontsize=7)
        ax.set_xscale("log")
        ax.set_xlim(left, max(drawn) * 60)
        ax.set_yticks(range(len(here)), [row.estimator for row in here], fontsize=7)
        ax.set_title(name)
        ax.set_xlabel("variance of a draw x its forward passes")
    for ax in table.flat[len(names) :]:
        ax.axis("off")
    return table[0, 0].figure
