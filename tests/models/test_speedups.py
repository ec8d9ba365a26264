"""Faster models are the same models: logits, gradients, generation, what is saved."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForPreTraining,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.cohere import modeling_cohere
from transformers.models.llama import modeling_llama

import llmos
from llmos.models.fused_layers import RMSNorm, rotate_both
from llmos.models.speedups import keep_memory, speed_up

torch.set_num_threads(1)  # over models this small, threads only wait for one another

V = 60
LLAMA: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
T5: dict[str, Any] = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
NAMES = ["gpt2", "llama", "mistral", "bert", "t5", "t5-gated"]


def stock(name: str, attention: str = "eager") -> PreTrainedModel:
    """A small model of transformers with random weights, norms' too."""
    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    t5 = {**T5, "vocab_size": V, "decoder_start_token_id": 0, "dropout_rate": 0.0}
    gpt2 = GPT2Config(n_layer=2, n_head=4, n_embd=16, vocab_size=V, **special)
    gpt2.resid_pdrop = gpt2.embd_pdrop = gpt2.attn_pdrop = 0.0
    bert = BertConfig(
        vocab_size=V,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config: Any
    kind, config = {
        "gpt2": (GPT2LMHeadModel, gpt2),
        "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA)),
        "mistral": (MistralForCausalLM, MistralConfig(**LLAMA, sliding_window=4)),
        "bert": (BertForPreTraining, bert),
        "t5": (T5ForConditionalGeneration, T5Config(**t5)),
        "t5-gated": (T5ForConditionalGeneration, T5Config(**t5, feed_forward_proj="gated-gelu")),
    }[name]
    config._attn_implementation = attention
    model: PreTrainedModel = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.train()


def faster(name: str) -> PreTrainedModel:
    model = stock(name)
    speed_up(model)
    return model


def inputs_of(model: PreTrainedModel, padded: bool) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, V, (3, 9), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids}
    if padded:
        inputs["attention_mask"] = (torch.arange(9) < torch.tensor([[9], [5], [2]])).long()
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :6]
    return inputs


def result(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits where tokens are real, and the gradients of a loss over them."""
    output: Any = model(**inputs)
    logits = getattr(output, "prediction_logits", None)
    logits = output.logits if logits is None else logits
    if "attention_mask" in inputs and not model.config.is_encoder_decoder:
        logits = logits[inputs["attention_mask"].bool()]
    model.zero_grad()
    logits.float().log_softmax(-1).flatten(0, -2)[:, ::7].sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_the_same(name: str, padded: bool) -> None:
    reference = stock(name)
    inputs = inputs_of(reference, padded)
    expected, exact = result(reference, inputs)
    found, gradients = result(faster(name), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert gradients.keys() == exact.keys()
    for weight, gradient in gradients.items():
        torch.testing.assert_close(gradient, exact[weight], rtol=1e-3, atol=1e-4, msg=weight)


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_they_differ_no_more_than_its_rounding(name: str) -> None:
    inputs = inputs_of(stock(name), padded=False)
    exact, _ = result(stock(name), inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, _ = result(stock(name), inputs)
        found, gradients = result(faster(name), inputs)
    assert float((found - exact).norm()) < 1.5 * float((plain - exact).norm())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_what_it_was(name: str, tmp_path: Path) -> None:
    reference, model = stock(name), faster(name)
    before, after = reference.state_dict(), model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in reference.named_parameters()]
    reference.save_pretrained(tmp_path / "before")
    model.save_pretrained(tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()
    loaded = type(model).from_pretrained(tmp_path / "after")
    assert loaded.config._attn_implementation != "llmos"


def test_what_was_slow_is_replaced() -> None:
    gpt2: Any = faster("gpt2")
    assert isinstance(gpt2.transformer.h[0].mlp.act, nn.GELU)
    assert gpt2.config._attn_implementation == "llmos"
    llama = faster("llama")
    norms = [part for part in llama.modules() if type(part).__name__.endswith("RMSNorm")]
    assert len(norms) == 5 and all(isinstance(norm, RMSNorm) for norm in norms)
    assert modeling_llama.apply_rotary_pos_emb is rotate_both
    t5 = faster("t5")
    assert not [part for part in t5.modules() if type(part).__name__ == "T5LayerNorm"]


def test_twice_is_once() -> None:
    model = faster("llama")
    before = list(model.modules())
    speed_up(model)
    assert list(model.modules()) == before


def test_copies_and_pickles_work() -> None:
    model = faster("llama").eval()
    inputs = inputs_of(model, padded=False)
    with torch.no_grad():
        expected = model(**inputs).logits
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(**inputs).logits, expected)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    inputs = inputs_of(stock(name), padded=False)
    _, exact = result(faster(name), inputs)
    model = faster(name)
    # transformers gave it another name after 5.17.
    enable: Any = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    _, gradients = result(model, {**inputs})
    for weight, gradient in gradients.items():
        torch.testing.assert_close(gradient, exact[weight], msg=weight)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_it_generates_the_same(name: str) -> None:
    reference, model = stock(name).eval(), faster(name).eval()
    ids = inputs_of(model, padded=False)["input_ids"]
    options = {"max_new_tokens": 6, "do_sample": False}
    expected, found = (m.generate(ids, **options) for m in (reference, model))  # type: ignore[operator]
    assert torch.equal(found, expected)


def test_a_saved_model_loads_as_any_other(tmp_path: Path) -> None:
    model = faster("gpt2").eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    inputs = inputs_of(model, padded=False)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, loaded(**inputs).logits)


def test_capped_attention_and_other_rotations_stay() -> None:
    gemma = Gemma2ForCausalLM(Gemma2Config(**LLAMA, head_dim=4))
    implementation = gemma.config._attn_implementation
    speed_up(gemma)
    assert gemma.config._attn_implementation == implementation
    assert not any(isinstance(part, RMSNorm) for part in gemma.modules())
    # Cohere turns neighbours, not halves.
    config = modeling_cohere.CohereConfig(**LLAMA)
    before = modeling_cohere.apply_rotary_pos_emb
    speed_up(modeling_cohere.CohereForCausalLM(config))
    assert modeling_cohere.apply_rotary_pos_emb is before


def test_keeping_memory_can_be_asked_for_again() -> None:
    keep_memory()
    keep_memory()
    assert float(torch.ones(1 << 20).sum()) == 1 << 20


GAPS = """
import sys
from llmos.models.speedups import give_back_memory, keep_memory
keep_memory()
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
blocks = [bytearray(1_000_000) for _ in range(300)]
pinned = blocks[::15]
del blocks
before = resident()
give_back_memory()
print((before - resident()) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tells it by Linux's /proc")
def test_empty_memory_goes_back_to_the_system() -> None:
    """Of 300 MB of which a fifteenth is still in use, most goes back."""
    environment = os.environ | {"PYTHONPATH": str(Path(llmos.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", GAPS], env=environment, capture_output=True, text=True, check=True
    )
    assert int(found.stdout) > 200
