"""The training loop: local optimiser steps over packed sequences, resumable at any step.

A step depends on (weights, optimizer state, step number, data) alone: batches come from the step
number and random numbers (dropout) from (seed, step), so a trainer restored from `state` goes on
with the same bits on the same machine, libraries and thread count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from llmos.data.packing import PackedSequences
from llmos.errors import TrainingError
from llmos.models.arrays import Vector, flatten, get_weights, layout_of, set_weights
from llmos.recipe import TrainingSection
from llmos.training.objectives import OBJECTIVES
from llmos.training.optimizers import OPTIMIZERS
from llmos.training.schedules import learning_rate_factor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class StepsReport:
    """What a stretch of steps did: mean loss in nats per token, tokens trained on, seconds."""

    loss: float
    tokens: int
    steps: int
    seconds: float


def use_deterministic(threads: int) -> None:
    """Fix what bit-identical training needs: deterministic kernels and the thread count.

    `threads` 0 leaves PyTorch's choice. The number in force is `torch.get_num_threads()`.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


class Trainer:
    """Trains `model` on `data` for up to `total_steps` steps of the schedule.

    Raises `TrainingError` when a loss or a gradient is not finite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        data: PackedSequences,
        settings: TrainingSection,
        *,
        objective: str,
        total_steps: int,
        seed: int,
        peak: float = 1.0,
    ) -> None:
        self.model = model
        self.data = data
        self.settings = settings
        self.total_steps = total_steps
        self.seed = seed
        self.peak = peak
        self.step = 0
        self._loss_of = OBJECTIVES[objective]
        self._layout = layout_of(model)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the moments, as at the start."""
        self.optimizer = OPTIMIZERS[self.settings.optimizer](self.model, self.settings)

    def run(self, steps: int) -> StepsReport:
        """Train `steps` steps from where the trainer stands."""
        settings = self.settings
        device = next(self.model.parameters()).device
        started = time.perf_counter()
        losses: list[torch.Tensor] = []
        norms: list[torch.Tensor] = []
        self.model.train()
        for _ in range(steps):
            factor = self.peak * learning_rate_factor(
                settings.schedule,
                self.step,
                self.total_steps,
                min(settings.warmup_steps, self.total_steps // 2),
                settings.final_learning_rate,
            )
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate * factor
            rows = torch.from_numpy(self.data.batch(self.step, settings.batch_size)).to(device)
            torch.manual_seed(self.seed * 1_000_003 + self.step)
            with torch.autocast(
                device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"
            ):
                loss = self._loss_of(self.model, rows)
            loss.backward()
            norms.append(
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
            )
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.detach())
            self.step += 1
        mean = self._checked_mean(losses, norms) if losses else 0.0
        tokens = steps * settings.batch_size * self.data.length
        return StepsReport(mean, tokens, steps, time.perf_counter() - started)

    def _checked_mean(self, losses: list[torch.Tensor], norms: list[torch.Tensor]) -> float:
        """The mean loss of the last steps; `TrainingError` where one was not finite."""
        # Once for many steps, because each look waits for the device.
        values = torch.stack([torch.stack(losses), torch.stack(norms)]).cpu()  # (2, steps)
        broken = (~values.isfinite()).any(dim=0).nonzero().flatten().tolist()
        if broken:
            at = broken[0]
            settings = self.settings
            raise TrainingError(
                f"the loss became {values[0, at]:.4g} with a gradient of norm {values[1, at]:.4g} "
                f"at step {self.step - len(losses) + at + 1}: lower training.learning_rate "
                f"(now {settings.learning_rate}) or training.clip_norm (now {settings.clip_norm})"
            )
        return float(values[0].mean())

    def weights(self) -> Vector:
        """The model's weights, (parameters,) float32."""
        return get_weights(self.model)

    def set_weights(self, vector: Vector) -> None:
        set_weights(self.model, vector)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Optimizer moments as vectors and the step, enough to go on bit for bit."""
        moments: dict[str, dict[str, npt.NDArray[Any]]] = {"exp_avg": {}, "exp_avg_sq": {}}
        count = 0
        for name, parameter in self.model.named_parameters():
            entry = self.optimizer.state.get(parameter)
            if not entry:
                return {"step": np.array([self.step], np.int64)}
            count = int(entry["step"])
            for key, arrays in moments.items():
                arrays[name] = entry[key].float().cpu().numpy()
        state = {key: flatten(arrays) for key, arrays in moments.items()}
        return {**state, "step": np.array([self.step, count], np.int64)}

    def load_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned, into fresh tensors."""
        self.reset_optimizer()
        self.step = int(state["step"][0])
        if "exp_avg" not in state:
            return
        arrays = {key: self._layout.split(state[key]) for key in ("exp_avg", "exp_avg_sq")}
        for name, parameter in self.model.named_parameters():
            entry: dict[str, torch.Tensor] = {
                # Fused AdamW keeps its step counter as float32 beside the parameter.
                "step": torch.tensor(float(state["step"][1]), device=parameter.device)
            }
            for key, named in arrays.items():
                entry[key] = torch.empty_like(parameter)
                entry[key].copy_(torch.from_numpy(named[name].copy()))
            self.optimizer.state[parameter] = entry
