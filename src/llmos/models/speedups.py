"""A transformers model made faster for training on a processor, with the same results.

transformers writes some parts as many small operations, each a pass through memory, and under
autocast in float32; beside the large products, which are fast in bf16, they take a third of a step
(docs/benchmarks.md). `speed_up` puts others in their place, in memory only: names, shapes and
values of weights stay, and so does what is saved.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from llmos.models.fused_attention import register
from llmos.models.fused_layers import RMSNorm, rotate_both

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def speed_up(model: PreTrainedModel) -> None:
    """Replace what is slow in `model`, where a replacement computes the same. Without effect twice.

    For processors; call it after `from_pretrained`, and not for torch.compile, which fuses itself.
    """
    keep_memory()
    config = model.config
    is_capped = getattr(config, "attn_logit_softcapping", None) is not None
    if config._attn_implementation in ("eager", "sdpa") and model._supports_sdpa and not is_capped:
        register()
        model.set_attn_implementation("llmos")
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))
            elif (norm := _rms_norm(part)) is not None:
                setattr(parent, name, norm)
    for file in {type(part).__module__ for part in model.modules()}:
        rotate = getattr(sys.modules[file], "apply_rotary_pos_emb", None)
        if rotate is not None and _is_rotation(rotate):
            sys.modules[file].apply_rotary_pos_emb = rotate_both  # type: ignore[attr-defined]


def keep_memory() -> None:
    """Let freed memory stay with this process, on Linux with the GNU C library.

    By default it returns each tensor above 32 MiB to the system and has it filled with zeros again
    at the next step, which took up to a third of the time of plain training. Tensors of ever other
    sizes leave gaps then: see `give_back_memory`.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def give_back_memory() -> None:
    """Return the memory that is free at this moment to the system, gaps and all.

    For now and then: with batches of ever other sizes a training of 3 million parameters grew by 6
    MB a step to 9 GB (docs/log.md).
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _rms_norm(part: Any) -> RMSNorm | None:
    """What computes the same as `part` with its weight, if it is such a normalisation."""
    if isinstance(part, RMSNorm) or set(part.state_dict()) != {"weight"}:
        return None
    if not hasattr(part, "variance_epsilon"):
        return None
    found = RMSNorm(part.weight, part.variance_epsilon)
    x = torch.linspace(-2.0, 3.0, 2 * len(part.weight), device=part.weight.device).view(2, -1)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return found if torch.allclose(part(x), found(x), rtol=1e-5) else None


def _is_rotation(rotate: Callable[..., Any]) -> bool:
    """Whether `rotate` has the arguments of `rotate_both` and computes the same."""
    if rotate is rotate_both or list(inspect.signature(rotate).parameters) != _ARGUMENTS:
        return False
    q, k, angles = torch.linspace(-2.0, 3.0, 72).view(3, 1, 2, 3, 4)
    cos, sin = (f(angles[:, 0, :, :2]).repeat(1, 1, 2) for f in (torch.cos, torch.sin))
    pairs = zip(rotate(q, k, cos, sin), rotate_both(q, k, cos, sin), strict=True)
    return all(torch.allclose(*pair, rtol=1e-5, atol=1e-6) for pair in pairs)


_ARGUMENTS = list(inspect.signature(rotate_both).parameters)
