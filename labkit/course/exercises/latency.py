"""Checkers of the exercises of notebook 04, latency."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.course.exercises.answers import is_close, need, value_of
from labkit.course.exercises.checkers import checker


@checker("e4.1")
def _summarise(answer: Callable[[list[float]], tuple[float, float, float]]) -> str:
    blocks = [0.52, 0.31, 0.33, 0.30, 0.35, 0.32, 3.90]  # not in order, and one disturbed
    value = value_of(answer, "summarise", list(blocks))
    need(isinstance(value, tuple | list) and len(value) == 3, "return three numbers: best, median, spread")
    best, median, spread = map(float, value)
    need(not is_close(best, max(blocks)), "`best` is the slowest block: time is a cost, so take the smallest")
    need(is_close(best, min(blocks)), f"`best` is one of the blocks, the fastest; yours is {best}")
    need(not is_close(median, statistics.mean(blocks)), "`median` is the mean: one disturbed block drags it along")
    need(not is_close(median, blocks[3]), "`median` is the block in the middle of the list: sort the blocks first")
    need(
        is_close(median, statistics.median(blocks)),
        f"half of the blocks are below the median, half above; got {median}",
    )
    need(not is_close(spread, max(blocks) - min(blocks)), "`spread` is slowest minus fastest: one bad block decides it")
    deviations = (statistics.stdev(blocks), statistics.pstdev(blocks))
    need(not any(is_close(spread, s) for s in deviations), "`spread` is a standard deviation: one bad block rules it")
    quartiles = [statistics.quantiles(blocks, n=4, method=how) for how in ("inclusive", "exclusive")]
    widths = [high - low for low, _, high in quartiles]
    need(not any(is_close(spread, w / 2) for w in widths), "`spread` is half of what is asked: quartile to quartile")
    need(any(is_close(spread, w) for w in widths), f"`spread` is the third quartile minus the first; yours is {spread}")
    return "one disturbed block in seven moves none of the three"


@checker("e4.2")
def _sum_of_parts(answer: Callable[[Tensor, float, Tensor], Tensor]) -> str:
    matrix = torch.tensor([[0.5, 0.2, 0.1], [0.7, 0.3, 0.4]], dtype=torch.float64)
    one_hot = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)  # 0.2 and 0.7
    value = value_of(answer, "sum_of_parts", matrix, 1.0, one_hot)
    size = torch.as_tensor(value).numel()
    need(size == 1, f"one architecture takes one number of milliseconds; yours returned {size}: add up the slots too")
    need(
        not is_close(value, 0.9),
        "the overhead is missing: every architecture pays for stem, pooling, head and the call",
    )
    need(not is_close(value, 2.9), "the overhead is paid once a slot: the whole network pays it once")
    need(not is_close(value, 3.2), "all candidates are added up: the weights say which one of each slot runs")
    need(not is_close(value, 1.45), "that is the mean over the slots: the layers run one after the other, so add them")
    need(
        is_close(value, 1.9),
        f"0.2 and 0.7 ms of parts and 1 ms of overhead make 1.9 ms; yours makes {float(value):.3f}",
    )
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    value = float(value_of(answer, "sum_of_parts", matrix, 1.0, probabilities))
    hint = f"probabilities give the mean latency, 1.78 ms, not {value:.2f}: use the weights as they are, no argmax"
    need(is_close(value, 1.78), hint)
    return "one formula serves an architecture, a relaxed sample and a whole distribution"
