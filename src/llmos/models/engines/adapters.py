"""Low-rank additions (LoRA, arXiv 2106.09685) of several models over one network.

The network is loaded once; each row of a step gets the additions of the adapter that its text asks
for, so that texts of different adapters are written in the same step. Shapes: N rows, I inputs and
O outputs of a layer, r rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llmos.errors import ModelError
from llmos.models.engines.engine import UnsupportedError
from llmos.models.engines.networks import PROBE, TOLERANCE, Network, causal
from llmos.models.folders import quietly

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
Place = tuple[int, str]
"""The number of a layer, and which of its maps: qkv, out, up or down."""
Factors = tuple[torch.Tensor, torch.Tensor]
"""A (r, I) and B (O, r), in which the scale is."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """What one adapter adds, by place."""

    factors: Mapping[Place, Factors]


class Added:
    """Which adapter each row of a step has: pairs of an adapter and its rows."""

    def __init__(self, adapters: Sequence[Adapter | None], device: torch.device) -> None:
        rows: dict[Adapter, list[int]] = {}
        for row, adapter in enumerate(adapters):
            if adapter is not None:
                rows.setdefault(adapter, []).append(row)
        self._rows = [
            (adapter, torch.tensor(some, device=device)) for adapter, some in rows.items()
        ]

    def __call__(self, layer: int, part: str, inputs: torch.Tensor) -> torch.Tensor | None:
        """What the adapters add to the outputs (N, O) of a map of `inputs` (N, I), if anything."""
        found: torch.Tensor | None = None
        for adapter, rows in self._rows:
            factors = adapter.factors.get((layer, part))
            if factors is not None:
                a, b = factors
                if found is None:
                    found = inputs.new_zeros(len(inputs), len(b))
                found.index_copy_(0, rows, inputs[rows] @ a.T @ b.T)
        return found


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter in peft's form rather than a whole model."""
    return (folder / CONFIG).is_file()


def load_adapter(folder: Path, model: PreTrainedModel, network: Network) -> Adapter:
    """The adapter in peft's form in `folder`, over a network of `model`.

    Raises `ModelError` where it does not fit the model, `UnsupportedError` for additions of another
    kind, or a network that takes none.
    """
    place_of = getattr(network, "place_of", None)
    if place_of is None:
        raise UnsupportedError(
            f"adapters are served over GPT-2 and Llama networks, not a {model.config.model_type}: "
            "merge the adapter into the model and serve that"
        )
    from peft import PeftModel

    try:
        with quietly():
            whole: Any = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    except Exception as error:  # peft raises many kinds for a damaged or foreign adapter
        reason = str(error).strip().splitlines()
        said = reason[0][:200] if reason else type(error).__name__
        raise ModelError(f"{folder} does not fit the model ({said}): give its own base") from error
    try:
        adapter = Adapter(_stacked(_factors(whole, place_of, network, folder)))
        _compare(whole, adapter, network, folder)
    finally:
        whole.unload()
    return adapter


def _factors(
    whole: Any,
    place_of: Callable[[str], tuple[Place, int, int] | None],
    network: Network,
    folder: Path,
) -> Iterator[tuple[Place, int, int, Factors]]:
    """Place, first row, rows of the place's map, and the factors of each layer adapted."""
    for name, module in whole.base_model.model.named_modules():
        if getattr(module, "modules_to_save", None) or getattr(module, "lora_embedding_A", None):
            raise UnsupportedError(
                f"{folder} changes {name} as a whole: merge it into the model and serve that"
            )
        names = list(getattr(module, "lora_A", None) or [])
        if not names:
            continue
        found = place_of(name)
        plain = not any(getattr(module, "use_dora", {}).values())
        if found is None or not plain:
            raise UnsupportedError(
                f"{folder} adds to {name} what is not served: merge it into the model"
            )
        (one,) = names
        a, b = module.lora_A[one].weight, module.lora_B[one].weight * module.scaling[one]
        place, first, size = found
        yield place, first, size, (a.detach().to(network.dtype), b.detach().to(network.dtype))


def _stacked(parts: Iterator[tuple[Place, int, int, Factors]]) -> dict[Place, Factors]:
    """Maps that the network computes as one get their additions as one."""
    found: dict[Place, Factors] = {}
    for place, first, size, (a, b) in parts:
        rows = b.new_zeros(size, b.shape[1])
        rows[first : first + len(b)] = b
        before = found.get(place)
        if before is not None:
            a, rows = torch.cat([before[0], a]), torch.cat([before[1], rows], dim=1)
        found[place] = a, rows
    return found


@torch.inference_mode()
def _compare(whole: Any, adapter: Adapter, network: Network, folder: Path) -> None:
    """Raise `UnsupportedError` unless the rows come out as peft computes them."""
    device = whole.device
    ids = torch.arange(PROBE, device=device) * 7919 % whole.config.vocab_size
    expected = whole(input_ids=ids[None], use_cache=False).logits[0].float()
    positions = torch.arange(PROBE, device=device)
    added = Added([adapter] * PROBE, device)
    found = network.logits(network.hidden(ids, positions, causal(network.scale), added))
    room = TOLERANCE if network.dtype == torch.float32 else _ROUGH
    if (found - expected).abs().max() > room * expected.abs().max():
        raise UnsupportedError(
            f"{folder} gives other outcomes than with peft: merge it into the model and serve that"
        )


_ROUGH = 0.1
"""As `TOLERANCE`, of bf16 (8 bits) after many layers: tells a wrong map from a rounded one."""
