"""What a weight, a target or a deadline chooses in a scene, and its description; `explorer.js` repeats `choose`."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from labkit.pareto import frontier_rows, supported_rows
from labkit.system.errors import InputError
from labkit.widgets.explorer.scenes import Scene, is_number


def choose(scene: Scene, weight: float, target_ms: float | None = None) -> int:
    """Choose the point with the least error + weight * ms.

    With a target only the ms above it count: error + weight * max(0, ms - target_ms). An infinite weight makes the
    target a deadline: the most accurate point that meets it, or the fastest where none does. Equal costs go to the
    faster point, then to the earlier one.

    Args:
        scene: the architectures.
        weight: latency weight, in error fraction per ms; infinite only with a target.
        target_ms: target or deadline, in ms.

    Returns:
        Index of the point in `scene.points`.

    Raises:
        InputError: a weight or a target that is negative or not finite.
    """
    if not (weight == math.inf and target_ms is not None):
        check_weight(weight)
    check_target(target_ms)

    def cost(i: int) -> tuple[float, float, int]:
        point = scene.points[i]
        late = point.ms if target_ms is None else max(0.0, point.ms - target_ms)
        return point.error + (weight * late if late else 0.0), point.ms, i

    return min(range(len(scene.points)), key=cost)


def check_weight(weight: float) -> float:
    """Check a latency weight.

    Args:
        weight: error fraction per ms.

    Returns:
        The weight.

    Raises:
        InputError: it is negative or not finite.
    """
    if not is_number(weight) or weight < 0:
        raise InputError(f"a latency weight is a finite number, 0 or more (error per ms), not {weight!r}; pass 0.1")
    return weight


def check_target(target_ms: float | None) -> float | None:
    """Check a target.

    Args:
        target_ms: target in ms, or None for none.

    Returns:
        The target.

    Raises:
        InputError: it is negative or not finite.
    """
    if target_ms is not None and (not is_number(target_ms) or target_ms < 0):
        raise InputError(f"a target is a finite number of ms, 0 or more, not {target_ms!r}; None for no target")
    return target_ms


def frontier(scene: Scene) -> tuple[int, ...]:
    """Find the points that no other point dominates.

    Args:
        scene: the architectures.

    Returns:
        Their indices, fastest first, so that the error falls. Of points equal in both costs the first stands for all.
    """
    return tuple(frontier_rows(_costs(scene)).tolist())


def reachable(scene: Scene) -> tuple[int, ...]:
    """Find the points of the frontier that some weight >= 0 chooses: its corners. A target reaches the others too.

    Args:
        scene: the architectures.

    Returns:
        Their indices, fastest first.
    """
    return tuple(supported_rows(_costs(scene)))


def weight_stops(scene: Scene, n: int = 61) -> tuple[float, ...]:
    """Make the weights of a slider: 0, then equal ratios over the range in which they matter.

    Below the range the most accurate point is chosen, above it the fastest. The top is also enough, where that costs at
    most two doublings of the range, for a target to choose every frontier point. Stops are rounded to two digits (few
    merge), and every reachable point is chosen by at least one of them.

    Args:
        scene: the architectures.
        n: about how many weights.

    Returns:
        Weights in error fraction per ms, rising.

    Raises:
        InputError: fewer than two weights.
    """
    if n < 2:
        raise InputError(f"a slider needs at least 2 weights, not {n!r}; 61 is usual")
    points = reachable(scene)
    turns = [_error_per_ms(scene, fast, slow) for fast, slow in pairwise(points)]  # falling
    if not turns:  # one point beats all the others, so every weight chooses it: any range will do
        turns = [max(scene.points[points[0]].error, 0.01) / scene.points[points[0]].ms]
    top = min(max(4 * turns[0], 1.1 * filling_weight(scene)), 16 * turns[0])
    stops = {0.0} | {rounded(weight, 2) for weight in np.geomspace(turns[-1] / 4, top, n - 1)}
    chosen = {choose(scene, weight) for weight in stops}
    for k, index in enumerate(points):
        if index not in chosen:  # its interval of weights, turns[k] down to turns[k - 1], fell between two stops
            stops.add(_stop_between(scene, index, turns[min(k, len(turns) - 1)], turns[max(k - 1, 0)]))
    return tuple(sorted(stops))


def filling_weight(scene: Scene) -> float:
    """Compute the weight from which on a target chooses every frontier point, at the target equal to its latency.

    It is the steepest step of the frontier's staircase: with less, it pays to exceed the target.

    Args:
        scene: the architectures.

    Returns:
        The weight in error fraction per ms; 0 where the frontier is one point.
    """
    points = frontier(scene)
    return max((_error_per_ms(scene, fast, slow) for fast, slow in pairwise(points)), default=0.0)


def default_weight(scene: Scene) -> float:
    """Choose the stop that a reader begins with: one that chooses the middle one of the reachable points.

    Args:
        scene: the architectures.

    Returns:
        The weight in error fraction per ms.
    """
    points = reachable(scene)
    middle = points[len(points) // 2]
    stops = [weight for weight in weight_stops(scene) if choose(scene, weight) == middle]
    return stops[len(stops) // 2] if stops else 0.0


def default_target(scene: Scene) -> float:
    """Choose the target that a reader begins with: the latency of the middle one of the frontier.

    Args:
        scene: the architectures.

    Returns:
        The target in ms.
    """
    points = frontier(scene)
    return scene.points[points[len(points) // 2]].ms


def _costs(scene: Scene) -> NDArray[np.float64]:
    """(N, 2) ms and error."""
    return np.array([[point.ms, point.error] for point in scene.points])


def _error_per_ms(scene: Scene, fast: int, slow: int) -> float:
    """Error saved per ms spent, going from one frontier point to a slower one. Positive."""
    a, b = scene.points[fast], scene.points[slow]
    return (a.error - b.error) / (b.ms - a.ms)


def _stop_between(scene: Scene, index: int, low: float, high: float) -> float:
    """The roundest weight between two turns that chooses `index`."""
    middle = math.sqrt(low * high)
    round_ones = (rounded(middle, digits) for digits in (2, 3, 4, 6, 9))
    return next((weight for weight in round_ones if choose(scene, weight) == index), middle)


def rounded(value: float, digits: int) -> float:
    """Round to significant digits.

    Args:
        value: any number.
        digits: number of digits.

    Returns:
        The rounded number.
    """
    return float(f"{value:.{digits}g}")


# ---- in words ------------------------------------------------------------------------------------------


def describe(scene: Scene, index: int, weight: float | None = None, target_ms: float | None = None) -> str:
    """Describe a choice, such as "weight 0.10: 0.231 ms, error 8.3 %".

    Args:
        scene: the architectures.
        index: of the chosen point.
        weight: the latency weight; None: chosen by hand; infinite: by a deadline.
        target_ms: the target or the deadline, in ms.

    Returns:
        The text.
    """
    point = scene.points[index]
    if weight == math.inf and target_ms is not None:
        parts = [f"deadline {ms_text(scene, target_ms)} ms"] + ["which none meets"] * (point.ms > target_ms)
    else:
        parts = [] if weight is None else [f"weight {weight_text(weight)}"]
        parts += [] if target_ms is None else [f"target {ms_text(scene, target_ms)} ms"]
    return f"{', '.join(parts) or 'by hand'}: {ms_text(scene, point.ms)} ms, error {100 * point.error:.1f} %"


def weight_text(weight: float) -> str:
    """Write a weight with two digits, or as many up to four as it has: 0.0, 0.10, 0.032, 12.

    Args:
        weight: error fraction per ms.

    Returns:
        The text.
    """
    digits = next((d for d in (2, 3) if rounded(weight, d) == weight), 4)
    return f"{weight:.{max(0, digits - 1 - math.floor(math.log10(weight or 1)))}f}"


def ms_text(scene: Scene, ms: float) -> str:
    """Write milliseconds with as many decimals as the scene shows.

    Args:
        scene: the architectures.
        ms: the latency.

    Returns:
        The text, without the unit.
    """
    return f"{ms:.{scene.decimals}f}"
