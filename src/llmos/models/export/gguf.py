"""GGUF, the file of llama.cpp, Ollama and LM Studio, by llama.cpp's own `gguf` package.

Of GPT-2 and Llama-style decoders with a byte-level BPE. Names and layouts are those of llama.cpp's
convert_hf_to_gguf.py; the keys are in ggml's docs/gguf.md. The tokenizer.json goes into the file
as well, where engines that read it (`LlamaCppEngine`) find the very tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer

from llmos.errors import ModelError, UsageError
from llmos.models.engines.loading import Loaded
from llmos.models.folders import read
from llmos.models.pieces import PATTERN
from llmos.models.vocabulary import CHAT_TEMPLATE, Vocabulary

PRECISIONS = {"float32": "F32", "float16": "F16", "int8": "Q8_0"}
"""Ours and GGUF's names of how weights are saved."""
EXTRA = "pip install gguf"
INSTEAD = "use llama.cpp's convert_hf_to_gguf.py, or --to onnx"

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CUTS = {
    PATTERN: "deepseek-v3",
    _LLAMA3: "llama-bpe",
}
"""The patterns by which tokenizers cut text, and llama.cpp's names for them. It has none that is
ours; the nearest is DeepSeek-V3's (benchmarks/gguf_tokens.py)."""
NEARLY = (
    "llama.cpp does not cut text quite as this tokenizer does: of the tokens it reads 0.2 % are "
    "others (mean of 24 languages and kinds of text; Sinhala 2.3 %, 0.8 % at most in the others); "
    "llmos gives it tokens instead of text, so there none are"
)

Array = npt.NDArray[Any]


def write_gguf(loaded: Loaded, out: Path, precision: str) -> tuple[str, ...]:
    """Write the file `out`; what the user must know of it.

    Raises `UsageError` for a model or a tokenizer that llama.cpp has no form for.
    """
    try:
        import gguf
    except ImportError as error:
        raise ModelError(f"gguf is not installed: {EXTRA}") from error
    kind = str(loaded.model.config.model_type)
    if kind not in _ARCHITECTURES or loaded.head != "causal_lm":
        raise UsageError(
            f"{loaded.folder} is a {kind} model ({loaded.head}); to GGUF go GPT-2, Llama and "
            f"Mistral decoders: {INSTEAD}"
        )
    name, describe, layout = _ARCHITECTURES[kind]
    writer = gguf.GGUFWriter(out, name)
    writer.add_name(loaded.folder.resolve().name)
    writer.add_context_length(loaded.context_length)
    describe(writer, loaded.model.config)
    notes = _add_tokenizer(writer, loaded)
    wanted = gguf.GGMLQuantizationType[PRECISIONS[precision]]
    writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[precision]])
    for key, values in layout(loaded.model).items():
        stored, how = _stored(values, wanted)
        writer.add_tensor(key, stored, raw_dtype=how)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return notes


_FILE_TYPES = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "int8": "MOSTLY_Q8_0"}


def _stored(values: Array, wanted: Any) -> tuple[Array, Any]:
    """The values as they are saved, and how. Vectors stay float32, as llama.cpp has them."""
    import gguf

    values = np.ascontiguousarray(values, np.float32)
    if values.ndim == 1:
        return values, gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    if values.shape[-1] % block:  # rows that do not come out even in blocks
        wanted = gguf.GGMLQuantizationType.F16
    return gguf.quants.quantize(values, wanted), wanted


# Networks


def _describe_gpt2(writer: Any, config: Any) -> None:
    if config.activation_function not in ("gelu_new", "gelu_pytorch_tanh"):
        raise UsageError(f"llama.cpp's GPT-2 has no {config.activation_function}: {INSTEAD}")
    if config.scale_attn_by_inverse_layer_idx:
        raise UsageError(f"llama.cpp's GPT-2 has no scale_attn_by_inverse_layer_idx: {INSTEAD}")
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _gpt2(model: Any) -> dict[str, Array]:
    network = model.transformer
    found = {
        "token_embd.weight": network.wte.weight,
        "position_embd.weight": network.wpe.weight,
        "output_norm.weight": network.ln_f.weight,
        "output_norm.bias": network.ln_f.bias,
        "output.weight": model.lm_head.weight,
    }
    for number, layer in enumerate(network.h):
        for key, part in (
            ("attn_norm", layer.ln_1),
            ("attn_qkv", layer.attn.c_attn),
            ("attn_output", layer.attn.c_proj),
            ("ffn_norm", layer.ln_2),
            ("ffn_up", layer.mlp.c_fc),
            ("ffn_down", layer.mlp.c_proj),
        ):
            is_conv1d = part.weight.ndim == 2  # which holds (in, out)
            found[f"blk.{number}.{key}.weight"] = part.weight.T if is_conv1d else part.weight
            found[f"blk.{number}.{key}.bias"] = part.bias
    return {key: _array(value) for key, value in found.items()}


def _describe_llama(writer: Any, config: Any) -> None:
    rope = dict(getattr(config, "rope_parameters", None) or {})
    if rope.get("rope_type", "default") != "default":
        raise UsageError(f"positions of type {rope['rope_type']} are not exported: {INSTEAD}")
    window = getattr(config, "sliding_window", None)
    if window and window < config.max_position_embeddings:
        raise UsageError(f"a sliding window ({window}) is not exported: {INSTEAD}")
    if config.hidden_act != "silu":
        raise UsageError(f"llama.cpp's Llama has no {config.hidden_act}: {INSTEAD}")
    width = _head_width(config)
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _llama(model: Any) -> dict[str, Array]:
    network, config = model.model, model.config
    found = {
        "token_embd.weight": _array(network.embed_tokens.weight),
        "output_norm.weight": _array(network.norm.weight),
        "output.weight": _array(model.lm_head.weight),
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for number, layer in enumerate(network.layers):
        attention, mlp = layer.self_attn, layer.mlp
        for key, part in (
            ("attn_norm", layer.input_layernorm),
            ("attn_q", attention.q_proj),
            ("attn_k", attention.k_proj),
            ("attn_v", attention.v_proj),
            ("attn_output", attention.o_proj),
            ("ffn_norm", layer.post_attention_layernorm),
            ("ffn_gate", mlp.gate_proj),
            ("ffn_up", mlp.up_proj),
            ("ffn_down", mlp.down_proj),
        ):
            for piece in ("weight", "bias"):
                value = getattr(part, piece, None)
                if value is None:
                    continue
                values = _array(value)
                if key in heads:
                    values = _interleaved(values, heads[key])
                found[f"blk.{number}.{key}.{piece}"] = values
    return found


def _interleaved(values: Array, heads: int) -> Array:
    """Rows of each head from halves (transformers) to pairs, as llama.cpp's Llama turns them."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _head_width(config: Any) -> int:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(width)


def _array(tensor: Any) -> Array:
    found: Array = tensor.detach().float().cpu().numpy()
    return found


Describe = Callable[[Any, Any], None]
Layout = Callable[[Any], Mapping[str, Array]]
_ARCHITECTURES: dict[str, tuple[str, Describe, Layout]] = {
    "gpt2": ("gpt2", _describe_gpt2, _gpt2),
    "llama": ("llama", _describe_llama, _llama),
    "mistral": ("llama", _describe_llama, _llama),
}
"""By transformers' name: llama.cpp's, what describes the network, and its weights."""


# Tokenizer


def _add_tokenizer(writer: Any, loaded: Loaded) -> tuple[str, ...]:
    import gguf

    words = loaded.words
    content = json.loads(words.tokenizer.to_str())
    cuts = _cuts(content)
    if content["model"]["type"] != "BPE" or content.get("normalizer") or not cuts:
        raise UsageError(
            f"{loaded.folder} has a tokenizer ({content['model']['type']}) that llama.cpp has no "
            f"name for, other than this project's, GPT-2's and Llama 3's: {INSTEAD}"
        )
    added = {token["id"]: token for token in content["added_tokens"]}
    network: Any = loaded.model
    size = network.get_input_embeddings().weight.shape[0]
    tokens, types = [], []
    for number in range(size):
        token = words.tokenizer.id_to_token(number)
        kind = gguf.TokenType.NORMAL
        if token is None:  # rows of the model that no token has
            token, kind = f"[PAD{number}]", gguf.TokenType.UNUSED
        elif number in added:
            special = added[number]["special"]
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        tokens.append(token)
        types.append(kind)
    merges = content["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cuts)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(words.end)
    writer.add_bos_token_id(words.end if words.begin is None else words.begin)
    writer.add_pad_token_id(words.pad)
    writer.add_string(gguf.KEY_TOKENIZER_HF_JSON, words.tokenizer.to_str())
    template = _chat_template(loaded, words)
    # A text begins as a document; a chat of ours begins with its first role.
    writer.add_add_bos_token(not words.roles)
    if template:
        writer.add_chat_template(template)
    return (NEARLY,) if cuts == _CUTS[PATTERN] else ()


def _chat_template(loaded: Loaded, words: Vocabulary) -> str:
    if words.roles:
        return CHAT_TEMPLATE
    found = read(AutoTokenizer, loaded.folder).chat_template
    return found if isinstance(found, str) else ""


def _cuts(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for how the tokenizer cuts text; "" where it has none."""
    first = content.get("pre_tokenizer") or {}
    parts = first.get("pretokenizers", [first])
    last = parts[-1]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return ""
    if len(parts) == 1:
        return "gpt-2" if last.get("use_regex", True) else ""
    patterns = [part.get("pattern", {}).get("Regex", "") for part in parts[:-1]]
    return _CUTS.get(patterns[0], "") if len(patterns) == 1 else ""
