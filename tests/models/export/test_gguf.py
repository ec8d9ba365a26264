"""GGUF files, read back with llama.cpp's own package; what they say runs in `engines`' tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from llmos.errors import UsageError
from llmos.models.export.exporting import export
from llmos.models.export.gguf import _cuts, _interleaved
from llmos.models.pieces import PATTERN

gguf: Any = pytest.importorskip("gguf")


def read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader = gguf.GGUFReader(file)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    return facts, {tensor.name: tensor for tensor in reader.tensors}


def test_what_the_file_says(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    (note,) = export(tiny("llama"), "gguf", out)
    assert "2.3 %" in note
    facts, tensors = read(out)
    config = json.loads((tiny("llama") / "config.json").read_text())
    assert facts["general.architecture"] == "llama"
    assert facts["llama.attention.head_count_kv"] == config["num_key_value_heads"] == 2
    assert facts["llama.context_length"] == config["max_position_embeddings"]
    tokenizer = Tokenizer.from_file(str(tiny("llama") / "tokenizer.json"))
    tokens = facts["tokenizer.ggml.tokens"]
    assert tokens == [tokenizer.id_to_token(number) for number in range(len(tokens))]
    assert facts["tokenizer.ggml.token_type"][:3] == [3, 3, 1]  # two special ones, then bytes
    assert tokens[facts["tokenizer.ggml.eos_token_id"]] == "<|endoftext|>"
    assert facts["tokenizer.huggingface.json"] == tokenizer.to_str()
    weights = load_file(tiny("llama") / "model.safetensors")
    same = tensors["blk.1.ffn_down.weight"].data
    assert np.array_equal(same, weights["model.layers.1.mlp.down_proj.weight"])


def test_a_chats_form_goes_along(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    export(tiny("chat"), "gguf", tmp_path / "m.gguf")
    facts, _ = read(tmp_path / "m.gguf")
    assert "add_generation_prompt" in facts["tokenizer.chat_template"]
    assert facts["tokenizer.ggml.add_bos_token"] is False


def test_rows_of_a_head_are_laid_in_pairs() -> None:
    # Two heads of four rows: halves (0, 1 | 2, 3) become pairs (0, 2), (1, 3).
    found = _interleaved(np.arange(8)[:, None], 2)[:, 0]
    assert found.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(("precision", "kind"), [("float16", "F16"), ("int8", "Q8_0")])
def test_precisions(tiny: Callable[[str], Path], tmp_path: Path, precision: str, kind: str) -> None:
    export(tiny("gpt2"), "gguf", tmp_path / "m.gguf", precision)
    _, tensors = read(tmp_path / "m.gguf")
    weights = load_file(tiny("gpt2") / "model.safetensors")
    tensor = tensors["blk.0.attn_qkv.weight"]
    assert tensor.tensor_type.name == kind
    assert tensors["blk.0.attn_qkv.bias"].tensor_type.name == "F32"
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    wanted = weights["transformer.h.0.attn.c_attn.weight"].T
    assert np.abs(values - wanted).max() < 0.01 * np.abs(wanted).max()


def test_known_and_unknown_tokenizers() -> None:
    def cuts(first: Any) -> str:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = first
        return _cuts(json.loads(tokenizer.to_str()))

    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    llama3 = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    for pattern, name in ((llama3, "llama-bpe"), (PATTERN, "deepseek-v3"), (r"\w+", "")):
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        assert cuts(pre_tokenizers.Sequence([split, plain])) == name
    assert (cuts(level), cuts(plain), cuts(pre_tokenizers.Metaspace())) == ("gpt-2", "", "")


@pytest.mark.parametrize("kind", ["t5", "bert", "labels"])
def test_other_models_are_refused(tiny: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="GPT-2, Llama and Mistral"):
        export(tiny(kind), "gguf", tmp_path / "m.gguf")
    assert not list(tmp_path.iterdir())
