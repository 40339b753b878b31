"""A search in progress: its state, its steps, and its checkpoints."""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from labkit.data import ImageSet, ShuffledBatches
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import ESTIMATORS, Cost
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet, in_memory_format, seeded, weights_hash
from labkit.oneshot.additive import AdditiveControl
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.controllers import Controller, cosine, shared
from labkit.oneshot.task_cost import TaskCost
from labkit.runtimes.cuda_graphs import Recorder, eager
from labkit.system import malloc
from labkit.system.checkpoints import Checkpoint, Checkpoints
from labkit.system.errors import InputError
from labkit.system.interrupts import Stopped, interrupts_wait

TEMPERATURE = 0.4  # of the relaxed samples that weights learn on


class SearchRun:
    """The steps of one search. With a table the joint phase moves the architecture; without, only the weights learn.

    With several aims each has a controller, and all share the weights. The controllers sample in turn, the weights
    learn on the samples, and every controller moves at every step. On one machine with one number of threads, equal
    inputs give equal steps, bit for bit.

    Args:
        supernet: what is searched; it is copied.
        data: the image set.
        config: the search.
        table: latencies of parts of the space; None to train the weights only.
        measured_ms: a cost in milliseconds in place of the table's.
        aims: configs that differ from `config` in their latency objective only; none for `config` alone.
        on_step: called with the record of each step.
        progress: whether to show a progress bar.

    Raises:
        InputError: the parts do not fit together, or no architecture is within a deadline.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: ImageSet,
        config: SearchConfig,
        table: LatencyTable | None = None,
        measured_ms: Cost | None = None,
        *,
        aims: Sequence[SearchConfig] = (),
        on_step: Callable[[dict[str, Any]], None] | None = None,
        progress: bool = False,
    ):
        _check(supernet, data, config, measured_ms)
        if table is not None:
            table.check(supernet.space)
            config, aims = config.priced(table.range_ms()), [aim.priced(table.range_ms()) for aim in aims]
            for limit_ms in (aim.limit_ms for aim in aims or (config,)):
                if limit_ms is not None and measured_ms is None:  # a stopwatch is only known once it was asked
                    table.check_deadline(limit_ms)
        malloc.keep_freed()
        self.config, self.data, self.table, self.measured_ms = config, data, table, measured_ms
        self.on_step = on_step
        self.ingredients = _ingredients(supernet, data, config, table, measured_ms, aims)
        self.supernet = in_memory_format(copy.deepcopy(supernet), torch.channels_last)
        self.parameters = [p for p in self.supernet.parameters() if p.requires_grad]
        device = next(supernet.parameters()).device
        recorded = device.type == "cuda" and supernet.space.is_chain  # a cell's op weights are gathered by lists
        self.launch = Recorder() if recorded else eager
        lr = torch.tensor(config.weight_lr, device=device) if recorded else config.weight_lr
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr, weight_decay=config.weight_decay, fused=True, capturable=recorded
        )
        self.averaged = AveragedModel(self.supernet) if config.weight_average else None
        self.controllers = [Controller(supernet.space, aim, config.joint_steps) for aim in aims or (config,)]
        self.control = AdditiveControl(supernet.space) if len(self.controllers) > 1 else None
        self.generator = torch.Generator().manual_seed(config.seed)
        self.train_batches = ShuffledBatches(data.train, config.batch_size, self.generator, data.augment)
        self.valid_batches = ShuffledBatches(data.valid, config.batch_size, self.generator)
        self.history: list[dict[str, Any]] = []
        self.passes = 0.0
        self.started = time.perf_counter()
        self.bar = tqdm(total=max(1, config.steps), disable=not progress, desc="search")

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.history)

    @property
    def learnt(self) -> Supernet:
        """The weights that are evaluated: the mean of the last steps where the config asks for it, else the last."""
        if self.averaged is not None and self.averaged.n_averaged.item() > 0:
            return cast(Supernet, self.averaged.module)
        return self.supernet

    @property
    def seconds(self) -> float:
        """Seconds since the start, with those of the runs that this one resumes."""
        return time.perf_counter() - self.started

    def advance(self, until: int | None = None, checkpoints: Checkpoints | None = None) -> "SearchRun":
        """Run the steps up to `until`, and save on the way. An interrupt is handled between steps, and saved too.

        Args:
            until: number of the step to stop before; by default all steps run.
            checkpoints: where to save, if anywhere.

        Returns:
            This run.

        Raises:
            Stopped: after an interrupt, when checkpoints are kept.
        """
        until = self.config.steps if until is None else until
        with interrupts_wait() if checkpoints else nullcontext(lambda: False) as interrupted:
            while self.step < until:
                self._next()
                if checkpoints is None:
                    continue
                stop = interrupted()
                if (stop or self.step % checkpoints.every == 0) and checkpoints.save(self.checkpoint()) and stop:
                    came = f"stopped after step {self.step} of {self.config.steps}"
                    raise Stopped(came, f"the same call resumes from {checkpoints.folder}")
                if stop:
                    raise Stopped(f"stopped after step {self.step}, which could not be saved")
        return self

    # --- steps ------------------------------------------------------------------------------------------

    def _next(self) -> None:
        phase = self.config.phase(self.step)
        if phase == "joint" and self.table is not None:
            self._joint_step(self.table)
        else:
            self._weight_step("uniform" if phase == "joint" else phase)

    def _weight_step(self, phase: str) -> None:
        """Weights alone: on the equal mixture of all candidates, or on draws of the uniform distribution."""
        with seeded(self.config.seed + self.step):
            batch = next(self.train_batches)
        dist = self.controllers[0].dist  # uniform, as they all are until the joint phase
        task = TaskCost(self.supernet, self.parameters, batch, None, replace(self.config, gap_weight=0.0), self.launch)
        gradients, sampled = self._learn(task, dist, mixture=phase == "mixture")
        self._apply(gradients)
        self.passes += task.passes
        self._record(phase, dist, task, sampled)

    def _learn(self, task: TaskCost, dist: ArchDistribution, *, mixture: bool = False):
        """Gradients for the weights where no relaxed pass of the estimator gives them, and an architecture drawn."""
        learns_on, probs = self.config.learns_on, dist.probs().detach()[None]
        sample = dist.sample(self.config.architectures, TEMPERATURE, self.generator)
        if mixture:
            return task.gradients_on(probs), None
        if learns_on == "fair":
            dealt = [dist.space.encode(architecture) for architecture in dist.space.deal(self.generator)]
            several = torch.stack(dealt).to(probs)
            return task.gradients_on_each(several), several[0].argmax(-1).tolist()
        weights = sample.soft.detach() if learns_on == "relaxed" else sample.hard
        teacher = probs if learns_on == "distilled" else None
        return task.gradients_on(weights, teacher), sample.hard[0].argmax(-1).tolist()

    def _joint_step(self, table: LatencyTable) -> None:
        with seeded(self.config.seed + self.step):
            train, valid = next(self.train_batches), next(self.valid_batches)
        which = self._whose_turn(self.step - self.config.mixture_steps - self.config.weight_steps)
        drawing, generator = self.controllers[which], self.generator
        task = TaskCost(self.supernet, self.parameters, train, valid, self.config, self.launch)
        estimate = drawing.of_task(task, drawing.dist, self.config.architectures, generator)
        of_logits = [estimate.gradient]
        if self.control is not None:
            dists = [controller.dist for controller in self.controllers]
            of_logits = shared(estimate.gradient, which, dists, self.control.values())
            for drawn, cost in zip(task.sampled, task.costs):  # only now: a control that knew them would be a bias
                self.control.learn(drawn, cost)
        late = [c.move(g, table, self.measured_ms, generator) for c, g in zip(self.controllers, of_logits)]
        gradients = task.weight_gradients or self._learn(task, drawing.dist)[0]
        self._apply(gradients)
        self.passes += task.passes
        sampled = task.sampled[0] if task.sampled else None
        self._record("joint", drawing.dist, task, sampled, late[which], which)

    def _whose_turn(self, joint_step: int) -> int:
        """Every controller draws once a round, in an order that is the round's own."""
        this_round, place = divmod(joint_step, len(self.controllers))
        order = torch.Generator().manual_seed(self.config.seed + this_round)
        return int(torch.randperm(len(self.controllers), generator=order)[place])

    def _apply(self, gradients: Sequence[Tensor | None]) -> None:
        lr = self.config.weight_lr * self._share_of_lr()
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # where a recording reads it
            else:
                group["lr"] = lr
        # The optimiser makes its memory of a weight at its first gradient, and weights that were not run have none.
        known = len(self.optimizer.state) == len(self.parameters) and all(g is not None for g in gradients)
        launch = self.launch if known else eager
        launch("update", self._update, *cast(Sequence[Tensor], gradients), changes=self._updated)
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None and self.step >= (1 - self.config.weight_average) * self.config.steps:
            self.averaged.update_parameters(self.supernet)

    def _update(self, *gradients: Tensor | None) -> Tensor:
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        return norm

    def _updated(self) -> list[Tensor]:
        return self.parameters + [tensor for state in self.optimizer.state.values() for tensor in state.values()]

    def _share_of_lr(self) -> float:
        """Up in a line over the mixture phase, then a cosine down. Begun at the top, it stays at chance."""
        step, rise = self.step, self.config.mixture_steps
        if step < rise:
            return (step + 1) / rise
        return cosine((step - rise) / max(1, self.config.steps - rise), self.config.weight_lr_end)

    def _record(
        self,
        phase: str,
        dist: ArchDistribution,
        task: TaskCost,
        sampled: list[int] | None,
        late: float | None = None,
        controller: int | None = None,
    ) -> None:
        """A line of the log. Of several architectures drawn it tells of the first; milliseconds are the table's.

        Nothing here asks a GPU: the losses were read with the step's, and distributions are on the CPU.
        """
        if not math.isfinite(task.loss):
            raise InputError(
                f"the search diverged at step {self.step}: its loss is {task.loss}; repeat it with a weight_lr below "
                f"{self.config.weight_lr:g}"
            )
        relaxed_loss, relaxed_valid_loss = _train_and_valid(task.relaxed_losses)
        drawn_loss, drawn_valid_loss = _train_and_valid(task.drawn_losses[0] if task.drawn_losses else [])
        probs = dist.probs().detach()
        record = {
            "step": self.step,
            "phase": phase,
            "loss": task.loss,  # of what the weights learned on
            "relaxed_loss": relaxed_loss,
            "relaxed_valid_loss": relaxed_valid_loss,
            "drawn_loss": drawn_loss,
            "drawn_valid_loss": drawn_valid_loss,
            "entropy": dist.entropy().item(),
            "expected_ms": None if self.table is None else self.table(probs[None]).item(),
            "drawn_ms": self._drawn_ms(sampled),
            "late": late,
            "sampled": sampled,
            "logits": dist.logits.detach().cpu().flatten().tolist(),
            "probs": probs.cpu().flatten().tolist(),
        }
        if len(self.controllers) > 1:
            record["controller"] = controller
        self.history.append(record)
        self.bar.update()
        self.bar.set_postfix(loss=f"{task.loss:.2f}", phase=phase, refresh=False)
        if self.on_step is not None:
            self.on_step(record)

    def _drawn_ms(self, sampled: list[int] | None) -> float | None:
        if self.table is None or sampled is None:
            return None
        space = self.supernet.space
        return self.table.table_ms(space.architecture(slot[k] for slot, k in zip(space.slots, sampled)))

    # --- where it stands --------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state that the next step depends on. A run that resumes from it ends with the same bits.

        Returns:
            The checkpoint.
        """
        tensors = {f"supernet.{name}": value for name, value in self.supernet.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        tensors |= {"generator": self.generator.get_state()}
        tensors |= dict(_optimizer_tensors("weights", self.optimizer))
        for i, controller in enumerate(self.controllers):
            tensors |= {f"controller.{i}.{name}": value for name, value in controller.tensors().items()}
            tensors |= dict(_optimizer_tensors(f"controller.{i}.optimizer", controller.optimizer))
        if self.control is not None:
            tensors |= {f"control.{name}": value for name, value in self.control.tensors().items()}
        for name, batches in self._batches():
            if batches.order is not None:
                tensors[f"{name}.order"] = batches.order
        record = {
            "ingredients": self.ingredients,
            "controllers": [controller.memory() for controller in self.controllers],
            "used": {name: batches.used for name, batches in self._batches()},
            "passes": self.passes,
            "seconds": self.seconds,
            "history": list(self.history),
        }
        return Checkpoint(self.step, tensors, record)

    def restore(self, checkpoint: Checkpoint, *, changed: Sequence[str] = ()) -> "SearchRun":
        """Take over the state of another run with the same inputs.

        An estimator of another kind starts without state, and a mean over another share of the steps starts here.

        Args:
            checkpoint: what `checkpoint` returned.
            changed: names of inputs that may differ.

        Returns:
            This run.

        Raises:
            InputError: another input differs.
        """
        tensors, record = checkpoint.tensors, checkpoint.record
        if isinstance(self.launch, Recorder):
            self.launch = Recorder()  # the optimiser's memory lies elsewhere from now on
        differ = [key for key in self.ingredients if self.ingredients[key] != record["ingredients"].get(key)]
        if wrong := [key for key in differ if key not in changed]:
            then_now = (f"{key} {record['ingredients'].get(key)!r}, now {self.ingredients[key]!r}" for key in wrong)
            raise InputError(
                f"the checkpoint of step {checkpoint.step} is of another search ({'; '.join(then_now)}): repeat that "
                f"search, or name another folder"
            )
        self.supernet.load_state_dict(_under("supernet", tensors))
        if self.averaged is not None and "weight_average" not in differ:
            self.averaged.load_state_dict(_under("averaged", tensors))
        self.generator.set_state(tensors["generator"])
        _restore_optimizer("weights", self.optimizer, tensors)
        for i, (controller, learnt) in enumerate(zip(self.controllers, record["controllers"])):
            _restore_optimizer(f"controller.{i}.optimizer", controller.optimizer, tensors)
            own = _under(f"controller.{i}", tensors)
            controller.recall(learnt, own, same_estimator="estimator" not in differ)
        if self.control is not None:
            self.control.load(_under("control", tensors))
        for name, batches in self._batches():
            batches.order, batches.used = tensors.get(f"{name}.order"), record["used"][name]
        self.history = list(record["history"])
        self.passes = record["passes"]
        self.started = time.perf_counter() - record["seconds"]
        self.bar.update(self.step - self.bar.n)
        return self

    def _batches(self) -> tuple[tuple[str, ShuffledBatches], ...]:
        return ("train", self.train_batches), ("valid", self.valid_batches)


def _train_and_valid(losses: Sequence[float]) -> list[float | None]:
    """None for what the step did not compute."""
    return [*losses, None, None][:2]


def _ingredients(supernet, data, config, table, measured_ms, aims) -> dict[str, Any]:
    """What the steps follow from, named one by one, so that a search is only taken up by the same search."""
    latency = None if table is None else hashlib.sha256(json.dumps(table.to_json()).encode()).hexdigest()[:12]
    return {
        "space": supernet.space.digest,
        "images": data.digest,
        "first weights": weights_hash(supernet),
        "latency table": latency,
        "measured latency": measured_ms is not None,
        "aims": [asdict(aim) for aim in aims],
        **asdict(config),
    }


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for i, parameter in enumerate(optimizer.param_groups[0]["params"]):
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{prefix}.{i}.{key}", value


def _restore_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    group = optimizer.param_groups[0]
    for i, parameter in enumerate(group["params"]):
        found = _under(f"{prefix}.{i}", tensors)
        beside = parameter.device if group["fused"] else "cpu"  # where the optimiser counts its steps
        # Laid out like the parameter: a fused step walks both through memory side by side.
        like = {
            key: torch.empty_like(parameter if value.shape == parameter.shape else value.to(beside))
            for key, value in found.items()
        }
        if found:
            optimizer.state[parameter] = {key: like[key].detach().copy_(value) for key, value in found.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _check(supernet: Supernet, data: ImageSet, config: SearchConfig, measured_ms: Cost | None) -> None:
    data.check(supernet.space.image, supernet.space.classes)
    small = min(len(data.train), len(data.valid))
    if small < config.batch_size:
        raise InputError(
            f"a batch of {config.batch_size} needs as many images in each part; {data.name} has {small}: take a "
            f"smaller batch_size (--set batch_size={max(2, small // 2)})"
        )
    if measured_ms is not None and config.make_estimator().needs_gradient:
        able = [name for name, make in ESTIMATORS.items() if not make().needs_gradient]
        raise InputError(
            f"{config.estimator} follows the gradient of its cost, and a measured latency has none: take one of "
            f"{', '.join(able)}"
        )
