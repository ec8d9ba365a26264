"""What training says of itself while it runs: speed, use of the machine, time left, memory."""

from __future__ import annotations

import math
import resource
import sys
from collections import deque

import torch

from llmos.models.throughput import flops_per_token, matmul_rate
from llmos.records import JSON
from llmos.training.loop import StepsReport, Trainer

RECENT = 20
"""Stretches of steps whose speed the estimate of the time left is made from."""


class Meter:
    """Figures of a trainer's stretches of steps. `count` processes share the work.

    `bytes_per_token` is that of what is predicted, as the validation text has it.
    """

    def __init__(self, trainer: Trainer, bytes_per_token: float, count: int = 1) -> None:
        self.trainer = trainer
        self.bytes_per_token = bytes_per_token
        precision = trainer.settings.precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        # The processes share the cores of a machine, but each has a device of its own.
        devices = count if torch.cuda.is_available() else 1
        self._peak = matmul_rate(dtype) * devices
        length = trainer.settings.sequence_length
        self._flops_per_token = flops_per_token(trainer.model, length)
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def figures(self, report: StepsReport) -> JSON:
        """The last stretch: losses in nats, bits per byte, real tokens a second and the rest.

        utilisation: floating-point operations that the tokens need, over what the machine does in
        plain matrix products of the same precision; memory_bytes: the most this process had.
        """
        speed = report.tokens / report.seconds
        self._recent.append((report.steps, report.seconds))
        steps, seconds = (math.fsum(column) for column in zip(*self._recent, strict=True))
        # The first loss is that of the text; a second one, such as next sentence's, has no bytes.
        text_loss = next(iter(report.losses.values()))
        left = self.trainer.total_steps - self.trainer.step
        return {
            "step": self.trainer.step,
            "total": self.trainer.total_steps,
            "loss": _number(report.loss),
            "losses": {name: _number(loss) for name, loss in report.losses.items()},
            "bits_per_byte": _number(text_loss / math.log(2) / self.bytes_per_token),
            "norm": _number(report.norm),
            "learning_rate": report.learning_rate,
            "skipped": report.skipped,
            "tokens": report.tokens,
            "tokens_per_second": round(speed, 1),
            "utilisation": round(speed * self._flops_per_token / self._peak, 4),
            "eta_seconds": round(left * seconds / steps, 1),
            "memory_bytes": peak_memory(),
        }


def _number(value: float) -> float | None:
    """`value` for JSON, which has no NaN."""
    return value if math.isfinite(value) else None


def peak_memory() -> int:
    """The most memory this process has had, in bytes: on the GPU where it has one, else in all."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
