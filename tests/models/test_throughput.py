"""Operations per token against those that PyTorch counts while a model is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from llmos.models.throughput import flops_per_token, matmul_rate
from llmos.models.transformer import TransformerModel

torch.set_num_threads(1)

B, T, V, D = 2, 48, 400, 64
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
T5: dict[str, Any] = {"d_model": D, "d_ff": 4 * D, "num_heads": 4, "vocab_size": V}


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    gpt2 = GPT2Config(vocab_size=V, n_embd=D, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1)
    t5 = T5Config(**T5, num_layers=2, num_decoder_layers=3, d_kv=32, decoder_start_token_id=0)
    llama = LlamaConfig(**SIZES, intermediate_size=176, num_key_value_heads=2)
    return {
        "gpt2": GPT2LMHeadModel._from_config(gpt2, attn_implementation="eager"),
        "llama": LlamaForCausalLM._from_config(llama, attn_implementation="eager"),
        "t5": T5ForConditionalGeneration._from_config(t5, attn_implementation="eager"),
        "plain": TransformerModel(V, D, 4, 2),
    }


def counted(model: nn.Module) -> float:
    """Operations of a step by the number of its tokens, source and target."""
    ids = torch.randint(2, V, (B, T))
    inputs = {"input_ids": ids}
    tokens = B * T
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
        tokens *= 2
    with FlopCounterMode(display=False) as counter:
        output: Any = model(**inputs)
        output.logits.sum().backward()
    return counter.get_total_flops() / tokens


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "plain"])
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    model: Any = models()[name]
    # Biases and norms are in N but in no product.
    assert flops_per_token(model, T) == pytest.approx(counted(model), rel=0.03)


def test_masked_models_project_what_they_predict() -> None:
    model = BertForMaskedLM(BertConfig(**SIZES, intermediate_size=4 * D))
    all_of_them = flops_per_token(model, T)
    some = flops_per_token(model, T, predicted=0.15)
    assert all_of_them - some == pytest.approx(6 * V * D * 0.85)


def test_frozen_weights_take_two_thirds() -> None:
    model: Any = models()["llama"]
    weight = model.model.layers[0].mlp.up_proj.weight
    before = flops_per_token(model, T)
    weight.requires_grad = False
    assert before - flops_per_token(model, T) == 2 * weight.numel()
    # PyTorch agrees: the gradient of the weight is what is left out.
    assert flops_per_token(model, T) == pytest.approx(counted(model), rel=0.03)


def test_untied_input_embeddings_do_not_count() -> None:
    config = LlamaConfig(**SIZES, intermediate_size=176)
    tied, untied = (
        LlamaForCausalLM(LlamaConfig(**{**config.to_dict(), "tie_word_embeddings": tie}))
        for tie in (True, False)
    )
    assert flops_per_token(tied, T) == flops_per_token(untied, T)


def test_the_rate_is_that_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_DEVICE", "cpu")
    rate = matmul_rate(torch.float32)
    assert 1e8 < rate < 1e15
    assert matmul_rate(torch.float32) == rate  # measured once
