"""The training loop: optimiser steps on the batches of an objective, resumable at any step.

A step depends on (weights, optimizer state, step number, data) alone: batches come from the step
number and random numbers (dropout) from (seed, step), so a trainer restored from `state` goes on
with the same bits on the same machine, libraries and thread count. Each process of several, and
each micro-batch, adds its part of the batch's loss, so that neither changes what is minimised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from llmos.data.batches import Batch, Batches
from llmos.errors import ProtocolError, TrainingError
from llmos.models.arrays import Vector, copy_into, flatten, get_weights, set_weights, to_numpy
from llmos.models.speedups import give_back_memory, speed_up
from llmos.recipe import TrainingSection
from llmos.training.objectives.objective import Objective
from llmos.training.optimizers import OPTIMIZERS
from llmos.training.parallel import ONE_PROCESS, Processes
from llmos.training.schedules import learning_rate_factor

T = TypeVar("T")

TRIM_EVERY = 128
"""Steps between two returns of empty memory to the system."""
MOST_SKIPPED = 20
"""So many steps in a row without a finite loss end the training whatever the recipe says."""


@dataclass(frozen=True)
class StepsReport:
    """What a stretch of steps did: means of the losses, in nats per prediction; seconds.

    loss: what was minimised; losses: its parts by name; tokens: real tokens trained on; norm: mean
    norm of the gradients before clipping; skipped: steps left out for a loss that is no number.
    """

    loss: float
    tokens: int
    steps: int
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    norm: float = 0.0
    skipped: int = 0
    learning_rate: float = 0.0


class NotFiniteError(TrainingError):
    """A loss or gradient at `step` (from 0) was not a finite number."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def use_deterministic(threads: int) -> None:
    """Fix what bit-identical training needs: deterministic kernels and the thread count.

    `threads` 0 leaves PyTorch's choice. The number in force is `torch.get_num_threads()`.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # No kernel in use reads memory before writing it, so filling it first would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class _Losses(nn.Module):
    """Model and objective as one module: what is compiled and spread over processes."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.objective.losses(self.model, batch)


class Trainer:
    """Trains `model` on `data` for up to `total_steps` steps of the schedule.

    `peak` scales the recipe's learning rate. Raises `NotFiniteError` when a loss or a gradient is
    not finite and the recipe does not say to skip such steps, or too many follow one another.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        data: Batches,
        objective: Objective,
        settings: TrainingSection,
        *,
        total_steps: int,
        seed: int,
        peak: float = 1.0,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        self.model = model
        self.data = data
        self.objective = objective
        self.settings = settings
        self.total_steps = total_steps
        self.seed = seed
        self.peak = peak
        self.processes = processes
        self.step = 0
        is_cpu = next(model.parameters()).is_cpu
        if is_cpu and not settings.compile and isinstance(model, PreTrainedModel):
            speed_up(model)
        self._lowered = 1.0
        self._skipped_in_a_row = 0
        if settings.gradient_checkpointing:
            # transformers gave it another name after 5.17.
            enable = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
        self._share = processes.share(settings.batch_size)
        self._wrapped = processes.wrap(_Losses(model, objective))
        self._losses = self._wrapped
        if settings.compile:
            self._losses = cast(nn.Module, torch.compile(self._losses))
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the moments, as at the start."""
        self.optimizers = OPTIMIZERS[self.settings.optimizer](self.model, self.settings)

    def run(self, steps: int) -> StepsReport:
        """Train `steps` steps from where the trainer stands."""
        started = time.perf_counter()
        names: list[str] = []
        values: list[torch.Tensor] = []  # a step's losses by name, and the norm of its gradient
        tokens = skipped = 0
        self.model.train()
        self.model.zero_grad()  # a step that was interrupted may have left some
        for _ in range(steps):
            batch = self.data.batch(self.step, self.settings.batch_size)
            rate = self._set_learning_rate()
            parts = self._backward(batch)
            norm = _clip(self.model, self.settings.clip_norm)
            names = list(parts)
            values.append(torch.stack([*parts.values(), norm]))
            if self._must_skip(values[-1]):
                skipped += 1
            else:
                for optimizer in self.optimizers:
                    optimizer.step()
                tokens += self.objective.tokens(batch)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self.step += 1
            if self.step % TRIM_EVERY == 0:
                give_back_memory()
        if not values:
            return StepsReport(0.0, 0, 0, time.perf_counter() - started)
        means = self._means(torch.stack(values), skipped)
        losses = dict(zip(names, means[:-1], strict=True))
        return StepsReport(
            sum(means[:-1]),
            tokens,
            steps,
            time.perf_counter() - started,
            losses,
            means[-1],
            skipped,
            rate,
        )

    def _set_learning_rate(self) -> float:
        settings = self.settings
        rate = settings.learning_rate * self.peak * self._lowered
        rate *= learning_rate_factor(settings, self.step, self.total_steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return rate

    def _backward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Add up the gradients of this process's part of `batch`; its losses, as means."""
        settings, processes = self.settings, self.processes
        counts = self.objective.counts(batch)
        mine = self._share
        size = settings.micro_batch_size or len(mine)
        device = next(self.model.parameters()).device
        # Within 32 bits, for a processor's generator takes no more; odd, so no two ranks meet.
        apart = processes.rank * 0x9E3779B1
        torch.manual_seed((self.seed * 1_000_003 + self.step + apart) % 2**32)
        sums: dict[str, torch.Tensor] = {}
        for start in range(mine.start, mine.stop, size):
            rows = slice(start, min(start + size, mine.stop))
            part = {name: torch.from_numpy(array[rows]).to(device) for name, array in batch.items()}
            is_last = rows.stop == mine.stop
            with processes.synchronised(self._wrapped, is_last):
                with torch.autocast(
                    device.type,
                    dtype=torch.bfloat16,
                    enabled=settings.precision == "bf16",
                    cache_enabled=False,  # a weight is used once, so it would only hold memory
                ):
                    found = self._losses(part)
                # A batch may hold nothing to predict of some kind; its loss is then 0.
                means = {name: loss / max(1, counts[name]) for name, loss in found.items()}
                torch.stack(list(means.values())).sum().backward()
            for name, mean in means.items():
                detached = mean.detach().float()
                sums[name] = sums[name] + detached if name in sums else detached
        return sums

    def _must_skip(self, values: torch.Tensor) -> bool:
        """Whether the step just computed is left out, as the recipe says."""
        settings = self.settings
        if settings.not_finite == "stop":
            return False  # looked at once for many steps, because each look waits for the device
        whole = self._summed(values[None])[0]
        if bool(whole.isfinite().all()):
            self._skipped_in_a_row = 0
            return False
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row > MOST_SKIPPED:
            raise self._not_finite(whole, self.step)
        if settings.not_finite == "lower":
            self._lowered /= 2
        return True

    def _means(self, values: torch.Tensor, skipped: int) -> list[float]:
        """Means over the steps of `values`, (steps, losses + 1); raises where one is not finite."""
        parts = self._summed(values).cpu()
        finite = parts.isfinite().all(dim=1)
        if self.settings.not_finite == "stop" and not bool(finite.all()):
            at = int((~finite).nonzero()[0])
            raise self._not_finite(parts[at], self.step - len(parts) + at)
        if skipped == len(parts):
            return [float("nan")] * parts.shape[1]
        return [float(mean) for mean in parts[finite].double().mean(dim=0)]

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        """Losses of the whole batch from those of this process's rows, (steps, losses + 1)."""
        whole = self.processes.sum(values)
        whole[:, -1] = values[:, -1]  # the norm is that of all processes' gradient already
        return whole

    def _not_finite(self, values: torch.Tensor, step: int) -> NotFiniteError:
        settings = self.settings
        loss, norm = float(values[:-1].sum()), float(values[-1])
        return NotFiniteError(
            f"the loss became {loss:.4g} with a gradient of norm {norm:.4g} "
            f"at step {step + 1}: lower training.learning_rate "
            f"(now {settings.learning_rate}) or training.clip_norm (now {settings.clip_norm})",
            step,
        )

    def inside(self, work: Callable[[], T]) -> T:
        """The result of `work`, which calls the model but for training, such as to score texts.

        Of several processes all must do the same work.
        """
        return self.processes.inside(self._wrapped, work)

    def weights(self) -> Vector:
        """The trained weights, (parameters,) float32; frozen ones are not among them."""
        return get_weights(self.model)

    def set_weights(self, vector: Vector) -> None:
        set_weights(self.model, vector)

    # What a restart needs

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Optimizer moments as vectors, and [step, steps with the moments, lowered, skipped].

        With the weights it is enough to go on bit for bit.
        """
        state: dict[str, npt.NDArray[Any]] = {}
        count = 0
        begun = any(optimizer.state for optimizer in self.optimizers)
        for optimizer in self.optimizers if begun else ():
            named = self._parameters_of(optimizer)
            entries = {name: optimizer.state.get(p, {}) for name, p in named.items()}
            for key in MOMENTS_OF[type(optimizer)]:
                # A weight that no loss has reached has no moments yet; they begin as zeros.
                moments = {
                    name: to_numpy(entry[key] if entry else torch.zeros_like(named[name]))
                    for name, entry in entries.items()
                }
                state[key] = flatten(moments)
            count = max([count, *(int(entry.get("step", 0)) for entry in entries.values())])
        numbers = [self.step, count] if begun else [self.step]
        if self._lowered != 1.0 or self._skipped_in_a_row:
            state["guard"] = np.array([self._lowered, self._skipped_in_a_row], np.float64)
        return {**state, "step": np.array(numbers, np.int64)}

    def load_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned, into fresh tensors."""
        self.reset_optimizer()
        self.step = int(state["step"][0])
        lowered, skipped = state.get("guard", (1.0, 0))
        self._lowered, self._skipped_in_a_row = float(lowered), int(skipped)
        if len(state["step"]) == 1:
            return
        for optimizer in self.optimizers:
            named = self._parameters_of(optimizer)
            for key in MOMENTS_OF[type(optimizer)]:
                if key not in state:
                    raise ProtocolError(f"the state has no {key}: it is of another optimizer")
                _check_size(named, state[key])
                start = 0
                for name in sorted(named):
                    parameter = named[name]
                    entry = optimizer.state[parameter]
                    values = state[key][start : start + parameter.numel()]
                    entry[key] = torch.empty_like(parameter, requires_grad=False)
                    copy_into(entry[key], values.reshape(parameter.shape))
                    start += parameter.numel()
            if isinstance(optimizer, torch.optim.AdamW):
                for parameter in named.values():
                    # Fused AdamW keeps its step counter as float32 beside the parameter.
                    optimizer.state[parameter]["step"] = torch.tensor(
                        float(state["step"][1]), device=parameter.device
                    )

    def _parameters_of(self, optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return {n: p for n, p in self.model.named_parameters() if id(p) in mine}


MOMENTS_OF: dict[type, tuple[str, ...]] = {
    torch.optim.AdamW: ("exp_avg", "exp_avg_sq"),
    torch.optim.Muon: ("momentum_buffer",),
}


def _check_size(named: Mapping[str, nn.Parameter], values: npt.NDArray[Any]) -> None:
    size = sum(parameter.numel() for parameter in named.values())
    if values.shape != (size,):
        raise ProtocolError(f"{values.shape} moments do not fit a model of {size}")


def _clip(model: nn.Module, clip_norm: float) -> torch.Tensor:
    """Scale the gradients down to `clip_norm`; their norm before that."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    whole = getattr(norm, "full_tensor", None)  # a sharded model's norm is one number in parts
    return cast(torch.Tensor, whole() if whole else norm).float()
