"""Decoders as plain functions over rows of tokens, which may belong to many texts at once.

A row is one token of one text. All that works on a row alone (products, normalisation) runs over
all rows together, whatever their texts; what looks at other rows is handed in as `attend`. So new
prompts and running texts go through the network in one step, and nothing is padded.
GPT-2 and Llama-style networks are written out; any other of transformers' decoders is run as it
is, with `attend` in the place of its attention. Each is compared with transformers when it is made.
Shapes: N rows, D width, H heads, K heads of keys and values, d width of a head, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llmos.models.engines.engine import UnsupportedError
from llmos.models.engines.maps import Map, linear_map

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, query (N, H, d), key (N, K, d), value (N, K, d)) -> (N, H d)."""
Add = Callable[[int, str, torch.Tensor], torch.Tensor | None]
"""(layer, map, inputs (N, I)) -> (N, O), what adapters add to the map's outputs: see `adapters`."""


def nothing(layer: int, part: str, inputs: torch.Tensor) -> None:
    """Adds nothing."""


class Network(Protocol):
    """The layers of a decoder. `sizes`: its layers, K and d; scores are scaled by `scale`."""

    sizes: tuple[int, int, int]
    scale: float
    dtype: torch.dtype

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attend: Attend,
        add: Add = nothing,
    ) -> torch.Tensor:
        """ids and positions: (N,) -> (N, D), what the last layer puts out."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, V), float32."""
        ...


Placed = tuple[tuple[int, str], int, int]
"""The layer and the map in it, the first of the outputs meant, and how many the map has."""
_GPT2_PARTS = {
    "attn.c_attn": "qkv",
    "attn.c_proj": "out",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
}
_LLAMA_PARTS = {
    "self_attn.q_proj": "qkv",
    "self_attn.k_proj": "qkv",
    "self_attn.v_proj": "qkv",
    "self_attn.o_proj": "out",
    "mlp.gate_proj": "up",
    "mlp.up_proj": "up",
    "mlp.down_proj": "down",
}


def _placed(
    name: str, pattern: str, parts: Mapping[str, str], layers: Sequence[Any]
) -> Placed | None:
    found = re.fullmatch(pattern, name)
    part = parts.get(found[2]) if found else None
    if found is None or part is None:
        return None
    number = int(found[1])
    return (number, part), 0, getattr(layers[number], part).outputs


Linear = tuple[torch.Tensor, torch.Tensor | None]
"""Weight (out, in) and bias (out)."""


def _linear(part: Any, dtype: torch.dtype) -> Linear:
    weight = part.weight if isinstance(part, nn.Linear) else part.weight.T  # GPT-2's Conv1D
    bias = None if part.bias is None else part.bias.detach().to(dtype)
    return weight.detach().to(dtype), bias


def _stacked(*parts: Linear) -> Map:
    """Several maps of the same input as one."""
    biases = [bias for _, bias in parts if bias is not None]
    weight = torch.cat([weight for weight, _ in parts])
    return linear_map(weight, torch.cat(biases) if biases else None)


Norm = Callable[[torch.Tensor], torch.Tensor]
"""(N, D) -> (N, D)."""


@dataclass(frozen=True)
class _Layer:
    """Two halves, each behind a normalisation: attention, and the network over a row alone."""

    before: Norm
    qkv: Map
    out: Map
    middle: Norm
    up: Map
    down: Map


def _sum(rows: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
    return rows if added is None else rows + added


class GPT2Network:
    """GPT-2 (Radford et al. 2019) as `transformers.GPT2LMHeadModel` computes it."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        network: Any = model.transformer
        config = model.config
        self.heads, self.dtype = config.n_head, dtype
        self.width = config.n_embd // config.n_head
        self.sizes = config.n_layer, config.n_head, self.width
        self.scale = self.width**-0.5
        self.eps = config.layer_norm_epsilon
        self.words = network.wte.weight.detach().to(dtype)
        self.places = network.wpe.weight.detach().to(dtype)
        self.output = linear_map(_linear(model.get_output_embeddings(), dtype)[0])
        self.layers = [
            _Layer(
                self._norm(layer.ln_1),
                linear_map(*_linear(layer.attn.c_attn, dtype)),
                linear_map(*_linear(layer.attn.c_proj, dtype)),
                self._norm(layer.ln_2),
                linear_map(*_linear(layer.mlp.c_fc, dtype)),
                linear_map(*_linear(layer.mlp.c_proj, dtype)),
            )
            for layer in network.h
        ]
        self.last = self._norm(network.ln_f)

    def _norm(self, part: Any) -> Norm:
        weight, bias = (x.detach().to(self.dtype) for x in (part.weight, part.bias))
        shape, eps = tuple(weight.shape), self.eps
        return lambda x: functional.layer_norm(x, shape, weight, bias, eps)

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attend: Attend,
        add: Add = nothing,
    ) -> torch.Tensor:
        x = self.words[ids] + self.places[positions]
        for number, layer in enumerate(self.layers):
            rows = layer.before(x)
            rows = layer.qkv(rows, add(number, "qkv", rows))
            query, key, value = rows.view(len(ids), 3, self.heads, self.width).unbind(1)
            rows = attend(number, query, key, value)
            x = layer.out(rows, _sum(x, add(number, "out", rows)))
            rows = layer.middle(x)
            rows = layer.up.gelu(rows, add(number, "up", rows))
            x = layer.down(rows, _sum(x, add(number, "down", rows)))
        return self.last(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.output(hidden).float()

    def place_of(self, name: str) -> Placed | None:
        """Where the outputs of transformers' layer of that name are here."""
        return _placed(name, r"transformer\.h\.(\d+)\.(\w+\.\w+)", _GPT2_PARTS, self.layers)


class LlamaNetwork:
    """Llama (Touvron et al. 2023, arXiv 2302.13971) as `transformers.LlamaForCausalLM`.

    Its kin that differ in biases alone (Mistral, Qwen2) are computed as well.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        network: Any = model.model
        config = model.config
        self.heads, self.dtype = config.num_attention_heads, dtype
        self.shared = config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.sizes = config.num_hidden_layers, self.shared, self.width
        self.scale = self.width**-0.5
        self.eps = config.rms_norm_eps
        self.words = network.embed_tokens.weight.detach().to(dtype)
        self.output = linear_map(_linear(model.get_output_embeddings(), dtype)[0])
        self.layers = [
            _Layer(
                self._norm(layer.input_layernorm),
                _stacked(*(_linear(getattr(layer.self_attn, f"{n}_proj"), dtype) for n in "qkv")),
                linear_map(*_linear(layer.self_attn.o_proj, dtype)),
                self._norm(layer.post_attention_layernorm),
                _stacked(_linear(layer.mlp.gate_proj, dtype), _linear(layer.mlp.up_proj, dtype)),
                linear_map(*_linear(layer.mlp.down_proj, dtype)),
            )
            for layer in network.layers
        ]
        self.last = self._norm(network.norm)
        length = torch.arange(config.max_position_embeddings, device=self.words.device)
        cos, sin = network.rotary_emb(self.words[:1].float(), length[None])
        self.cos, self.sin = cos[0, :, None], sin[0, :, None]  # (length, 1, d), float32

    def _norm(self, part: Any) -> Norm:
        weight, eps = part.weight.detach().to(self.dtype), self.eps
        shape = tuple(weight.shape)
        return lambda x: functional.rms_norm(x, shape, weight, eps)

    def _turned(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Turned by their positions (Su et al. 2021, arXiv 2104.09864): (N, heads, d)."""
        left, right = x.chunk(2, dim=-1)
        return (x * cos + torch.cat([-right, left], dim=-1) * sin).to(self.dtype)

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attend: Attend,
        add: Add = nothing,
    ) -> torch.Tensor:
        x = self.words[ids]
        cos, sin = self.cos[positions], self.sin[positions]
        split = self.heads, self.shared, self.shared
        for number, layer in enumerate(self.layers):
            rows = layer.before(x)
            rows = layer.qkv(rows, add(number, "qkv", rows))
            query, key, value = rows.view(len(ids), -1, self.width).split(split, dim=1)
            query, key = self._turned(query, cos, sin), self._turned(key, cos, sin)
            rows = attend(number, query, key, value)
            x = layer.out(rows, _sum(x, add(number, "out", rows)))
            rows = layer.middle(x)
            gate, rows = layer.up(rows, add(number, "up", rows)).chunk(2, dim=-1)
            rows = functional.silu(gate) * rows
            x = layer.down(rows, _sum(x, add(number, "down", rows)))
        return self.last(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.output(hidden).float()

    def place_of(self, name: str) -> Placed | None:
        """Where the outputs of transformers' layer of that name are here."""
        found = _placed(name, r"model\.layers\.(\d+)\.(\w+\.\w+)", _LLAMA_PARTS, self.layers)
        if found is None:
            return None
        place, _, size = found
        heads, shared = self.heads * self.width, self.shared * self.width
        first = {"k_proj": heads, "v_proj": heads + shared, "up_proj": size // 2}
        return place, first.get(name.rpartition(".")[2], 0), size


class AnyNetwork:
    """Any decoder of transformers whose attention can be replaced (`AttentionInterface`).

    It computes in the type of the model, which stays as usable as it was.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        self.model: Any = model
        self.dtype = model.dtype
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        shared = getattr(config, "num_key_value_heads", None) or heads
        self.sizes = config.num_hidden_layers, shared, width
        self.scale = width**-0.5
        AttentionInterface.register(_NAME, _attend_within)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attend: Attend,
        add: Add = nothing,
    ) -> torch.Tensor:
        assert add is nothing, "adapters are served over networks that are written out"
        found = self.model.base_model(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            llmos_attend=attend,
            llmos_scale=self.scale,
        )
        hidden: torch.Tensor = found.last_hidden_state[0]
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden).float()
        return logits


_NAME = "llmos_engine"


def _attend_within(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    llmos_attend: Attend | None = None,
    llmos_scale: float = 1.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' attention function: query (1, H, N, d), key and value (1, K, N, d)."""
    if llmos_attend is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    if scaling is not None and scaling != llmos_scale:
        query = query * (scaling / llmos_scale)
    rows = (x[0].transpose(0, 1) for x in (query, key, value))
    found = llmos_attend(module.layer_idx, *rows)
    return found.view(1, query.shape[2], query.shape[1], -1), None


def causal(scale: float) -> Attend:
    """The attention of a single text: each row looks at itself and at those before it."""

    def attend(
        layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        return attend_causally(query, key, value, scale)

    return attend


def attend_causally(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """query: (T, H, d); key and value: (S, K, d); mask: (T, S), None for T = S -> (T, H d)."""
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    found = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[0].transpose(0, 1).flatten(1)


_WRITTEN_OUT: dict[str, Callable[[PreTrainedModel, torch.dtype], Network]] = {
    "gpt2": GPT2Network,
    "llama": LlamaNetwork,
    "mistral": LlamaNetwork,
    "qwen2": LlamaNetwork,
}
PROBE = 24
"""Tokens on which a network must agree with transformers'."""
TOLERANCE = 1e-3
"""The largest difference of float32 logits, as a share of the largest logit."""


@torch.inference_mode()
def network_of(model: PreTrainedModel, dtype: torch.dtype) -> Network:
    """The network of a causal language model in float32, to compute in `dtype`.

    Raises `UnsupportedError` where neither way of running it gives what transformers gives.
    """
    ids = torch.arange(PROBE, device=model.device) * 7919 % model.config.vocab_size
    expected = model(input_ids=ids[None], use_cache=False).logits[0].float()
    named = _WRITTEN_OUT.get(model.config.model_type)
    for kind in (named, AnyNetwork) if named else (AnyNetwork,):
        try:
            network = kind(model, torch.float32)
            positions = torch.arange(PROBE, device=model.device)
            found = network.logits(network.hidden(ids, positions, causal(network.scale)))
        except (AttributeError, KeyError, TypeError, ValueError, UnsupportedError):
            continue  # not such a network after all
        if (found - expected).abs().max() <= TOLERANCE * expected.abs().max():
            return network if dtype == network.dtype else kind(model, dtype)
    raise UnsupportedError(
        f"a {model.config.model_type} model cannot be decoded continuously: serve it with vLLM or "
        "llama.cpp and give --engine URL"
    )
