"""Draw docs/frontier.gif: what a latency weight chooses as it is dragged, on recorded numbers."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import labkit as lk

OUT = Path(__file__).with_name("frontier.gif")
FRAMES, MILLISECONDS = 16, 260


def frames():
    """One picture a latency weight: the frontier, the line of equal cost, and the network that it chooses."""
    known = lk.benches.tabular.load()
    points = known.points()
    front = [*known.frontier()]
    ms, error = np.array([p.latency_ms for p in points]), 100 * np.array([p.error for p in points])
    steps_ms, steps_error = [p.latency_ms for p in front], [100 * p.error for p in front]
    weights = np.geomspace(0.05, 30, FRAMES)
    for weight in weights:
        chosen = min(front, key=lambda p: p.error + weight * p.latency_ms)
        figure, axes = plt.subplots(figsize=(7.2, 4), dpi=100, layout="constrained")
        axes.scatter(ms, error, s=9, color="#b0b4ba", label="243 networks, all trained and timed")
        axes.step(steps_ms, steps_error, where="post", color="#1f6fb4", lw=1.6, label="the exact frontier")
        low, high = ms.min() * 0.9, ms.max() * 1.03
        line = 100 * (chosen.error + weight * (chosen.latency_ms - np.array([low, high])))
        axes.plot([low, high], line, color="#d9730d", lw=1.4, label="equal cost")
        axes.plot(chosen.latency_ms, 100 * chosen.error, "o", ms=11, mfc="none", mec="#d9730d", mew=2.2)
        axes.set(
            xlim=(low, high), ylim=(error.min() - 0.7, 26), xlabel="measured latency (ms)", ylabel="test error (%)"
        )
        axes.set_title(
            f"1 ms is worth {100 * weight:.3g} points of error: {chosen.architecture}", fontsize=9, loc="left"
        )
        axes.legend(loc="upper right", frameon=True, edgecolor="none", framealpha=0.95, fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        yield Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=48)


if __name__ == "__main__":
    first, *others = frames()
    back = others[-2::-1]
    first.save(OUT, save_all=True, append_images=[*others, *back], duration=MILLISECONDS, loop=0, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size // 1024} kB")
