"""Checkers of the exercises of notebook 01, search spaces."""

import math
from collections.abc import Callable
from typing import Any

import torch

from labkit import spaces
from labkit.course.exercises.answers import empty, is_function, need
from labkit.course.exercises.checkers import checker
from labkit.spaces import Architecture


@checker("e1.1")
def _size(answer: Callable[[tuple[tuple[str, ...], ...]], int]) -> str:
    is_function(answer, "size")
    equal, unequal = (("a", "b", "c"),) * 5, (("a", "b"), ("a", "b", "c", "d"), ("c",), ("a", "b", "c"))
    found = answer(equal)
    need(not empty(found), "`size` returned None: replace that line by a product over the slots")
    need(found != 3 + 3 + 3 + 3 + 3, "that is the sum, 15: each choice in one slot goes with each choice in the next")
    need(found != 5**3, "that is 5**3: one factor a *slot*, each the number of its candidates, is 3**5")
    need(found == 243, f"five slots of three candidates give 3 * 3 * 3 * 3 * 3 = 243; yours gives {found}")
    found = answer(unequal)
    need(
        found not in (len(slot) ** len(unequal) for slot in unequal),
        "one power is right only while all slots are alike: multiply the lengths one by one",
    )
    right = math.prod(len(slot) for slot in unequal)
    need(found == right, f"slots with 2, 4, 1 and 3 candidates give 2 * 4 * 1 * 3 = {right}; yours gives {found}")
    return "the same as space.size, for equal and for unequal slots"


@checker("e1.2")
def _neighbours(answer: Callable[[Any, Architecture], list[Architecture]]) -> str:
    is_function(answer, "neighbours")
    for space in (spaces.five_layer(), spaces.mobile("tiny")):
        (start,) = space.sample(1, torch.Generator().manual_seed(1))
        found = answer(space, start)
        need(not empty(found), "`neighbours` returned None: build a list of architectures and return it")
        found = list(found)
        need(
            bool(found), "`neighbours` returned an empty list: go through the slots, and in each through the candidates"
        )
        need(
            all(isinstance(a, Architecture) for a in found),
            f"each neighbour is an architecture, as space.architecture(names) makes it; got {found[0]!r}",
        )
        need(start not in found, "an architecture is not its own neighbour: skip the candidate that the slot has now")
        need(len(set(found)) == len(found), "some architecture is in the list twice")
        apart = {sum(a != b for a, b in zip(one.ops, start.ops)) for one in found}
        right = sum(len(slot) - 1 for slot in space.slots)
        need(
            apart == {1} or len(found) <= right,
            f"there are {right} neighbours and you return {len(found)} architectures: exactly one slot may differ",
        )
        need(
            apart == {1},
            f"a neighbour differs in exactly one slot; yours differ in up to {max(apart)}: start afresh from the "
            "given architecture for each change",
        )
        changed = {s for one in found for s, (a, b) in enumerate(zip(one.ops, start.ops)) if a != b}
        need(
            len(changed) == len(space.slots),
            f"only {len(changed)} of the {len(space.slots)} slots of {space.name} ever change",
        )
        need(
            len(found) == right,
            f"{space.name}: {len(found)} neighbours of {right}; every *other* candidate of a slot gives one",
        )
    return "10 neighbours among the 243, and every one-slot change in mobile-tiny too"
