"""The loss without a batch's logits: its value and gradients, and the states that go into it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from llmos.models.transformer import TransformerModel
from llmos.training.objectives import token_loss
from llmos.training.objectives.token_loss import (
    headless,
    hidden_states,
    label_loss_sum,
    output_projection,
    token_loss_sum,
)

torch.set_num_threads(1)  # over models this small, threads only wait for one another

N, D, V = 37, 12, 50


def problem(seed: int = 0, ignored: float = 0.3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, V, (N,), generator=generator)
    labels[torch.rand(N, generator=generator) < ignored] = -100
    return {
        "hidden": torch.randn(N, D, generator=generator),
        "weight": torch.randn(V, D, generator=generator),
        "bias": torch.randn(V, generator=generator),
        "labels": labels,
    }


def reference(p: dict[str, torch.Tensor], with_bias: bool) -> list[torch.Tensor]:
    """Loss and gradients in float64, by PyTorch's cross entropy of all logits."""
    leaves = [p[name].double().requires_grad_() for name in ("hidden", "weight", "bias")]
    hidden, weight, bias = leaves
    logits = functional.linear(hidden, weight, bias if with_bias else None)
    loss = functional.cross_entropy(logits, p["labels"], reduction="sum")
    used = leaves if with_bias else leaves[:2]
    return [loss.detach(), *torch.autograd.grad(loss / 7, used)]


def ours(p: dict[str, torch.Tensor], with_bias: bool) -> list[torch.Tensor]:
    leaves = [p[name].clone().requires_grad_() for name in ("hidden", "weight", "bias")]
    hidden, weight, bias = leaves
    loss = token_loss_sum(hidden, weight, p["labels"], bias if with_bias else None)
    used = leaves if with_bias else leaves[:2]
    return [loss.detach(), *torch.autograd.grad(loss / 7, used)]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm().clamp(min=1e-30))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    ignored=st.sampled_from([0.0, 0.5, 0.85]),
    with_bias=st.booleans(),
    rows=st.integers(1, N + 1),
    rows_exact=st.integers(1, N + 1),
)
def test_loss_and_gradients_are_those_of_float64(
    seed: int, ignored: float, with_bias: bool, rows: int, rows_exact: int
) -> None:
    p = problem(seed, ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_loss, "CHUNK", rows * V)
        patch.setattr(token_loss, "BLOCK", rows_exact * V)
        found = ours(p, with_bias)
    assert found[0].dtype == torch.float32
    for one, expected in zip(found, reference(p, with_bias), strict=True):
        assert distance(one, expected) < 1e-6


def test_large_logits_stay_exact() -> None:
    """Scores of hundreds, and labels whose probability is below any float32."""
    p = problem(1)
    p["hidden"] *= 60
    for found, expected in zip(ours(p, True), reference(p, True), strict=True):
        assert bool(found.isfinite().all())
        assert distance(found, expected) < 1e-6


@pytest.mark.parametrize("chunk", [V, 8 * V, 1 << 25])
def test_under_autocast_it_is_as_exact_as_the_plain_loss(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(token_loss, "CHUNK", chunk)
    p = problem(2)
    exact = reference(p, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(p, True)
        leaves = [p[name].clone().requires_grad_() for name in ("hidden", "weight", "bias")]
        logits = functional.linear(*leaves).float()
        loss = functional.cross_entropy(logits, p["labels"], reduction="sum")
    plain = [loss.detach(), *torch.autograd.grad(loss / 7, leaves)]
    assert [one.dtype for one in found] == [torch.float32] * 4
    for one, other, expected in zip(found, plain, exact, strict=True):
        assert distance(one, expected) < max(1.5 * distance(other, expected), 1e-3)


def test_gradients_have_the_types_of_what_they_belong_to() -> None:
    p = problem()
    hidden = p["hidden"].bfloat16().requires_grad_()
    weight = p["weight"].clone().requires_grad_()
    loss = token_loss_sum(hidden, weight, p["labels"])
    loss.backward()
    assert loss.dtype == torch.float32
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_a_tied_embedding_gets_both_gradients() -> None:
    tokens = torch.arange(8).view(2, 4) % 5
    torch.manual_seed(0)
    table = nn.Embedding(V, D)

    def gradient(module: nn.Embedding, exact: bool) -> torch.Tensor:
        hidden = module(tokens).tanh().flatten(0, 1)
        labels = tokens.flatten() + 1
        if exact:
            logits = hidden @ module.weight.T
            functional.cross_entropy(logits, labels, reduction="sum").backward()
        else:
            token_loss_sum(hidden, module.weight, labels).backward()
        assert module.weight.grad is not None
        return module.weight.grad

    assert distance(gradient(copy.deepcopy(table), False), gradient(table.double(), True)) < 1e-6


def test_micro_batches_add_up() -> None:
    p = problem(3)
    weight = p["weight"].clone().requires_grad_()
    for part in (slice(0, 10), slice(10, N)):
        token_loss_sum(p["hidden"][part], weight, p["labels"][part]).backward()
    expected = reference({**p, "hidden": p["hidden"]}, False)[2] * 7
    assert weight.grad is not None and distance(weight.grad, expected) < 1e-6


def test_the_same_bits_every_time() -> None:
    p = problem(4)
    for one, other in zip(ours(p, True), ours(p, True), strict=True):
        assert torch.equal(one, other)


def test_nothing_to_predict_is_a_loss_of_zero_with_gradients_of_zero() -> None:
    p = problem(ignored=1.0)
    found = ours(p, True)
    assert not any(bool(one.any()) for one in found)
    assert [one.shape for one in found[1:]] == [(N, D), (V, D), (V,)]


def test_only_what_learns_gets_gradients() -> None:
    p = problem()
    hidden = p["hidden"].clone().requires_grad_()
    token_loss_sum(hidden, p["weight"], p["labels"], p["bias"]).backward()
    assert hidden.grad is not None
    assert distance(hidden.grad, reference(p, True)[1] * 7) < 1e-6
    weight = p["weight"].clone().requires_grad_()
    token_loss_sum(p["hidden"], weight, p["labels"]).backward()
    assert weight.grad is not None
    with torch.no_grad():
        loss = token_loss_sum(hidden, weight, p["labels"])
    assert not loss.requires_grad
    assert float(loss) == pytest.approx(float(reference(p, False)[0]), rel=1e-6)


def test_a_second_backward_is_refused() -> None:
    p = problem()
    loss = token_loss_sum(p["hidden"].requires_grad_(), p["weight"], p["labels"])
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward only"):
        loss.backward()


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes, in elements and by type."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[torch.dtype, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            size = self.elements.get(result.dtype, 0)
            self.elements[result.dtype] = max(size, result.numel())
        return result


@pytest.mark.parametrize("ignored", [0.0, 0.85])
def test_the_logits_are_never_all_there(monkeypatch: pytest.MonkeyPatch, ignored: float) -> None:
    monkeypatch.setattr(token_loss, "CHUNK", 4 * 900)
    monkeypatch.setattr(token_loss, "BLOCK", 2 * 900)
    hidden = torch.randn(400, 2, requires_grad=True)
    weight = torch.randn(900, 2, requires_grad=True)
    labels = torch.arange(400).masked_fill(torch.rand(400) < ignored, -100)
    with Largest() as largest, torch.autocast("cpu", dtype=torch.bfloat16):
        token_loss_sum(hidden, weight, labels).backward()
    assert largest.elements[torch.bfloat16] == 4 * 900
    assert largest.elements[torch.float32] == 2 * 900  # as large as the gradient of the weight


# Models

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "vocab_size": V}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    gpt2 = GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=V, **SPECIAL)
    bert = BertConfig(**SMALL, intermediate_size=16, num_labels=3, pad_token_id=0)
    t5: dict[str, Any] = {"num_layers": 2, "num_heads": 2, "d_model": 8, "d_kv": 4, "d_ff": 16}
    t5 |= {"vocab_size": V, "decoder_start_token_id": 0}
    llama = {**SMALL, "intermediate_size": 16, **SPECIAL}
    halves = ("encoder", "decoder")
    bart = BartConfig(
        vocab_size=V,
        d_model=8,
        **{f"{half}_layers": 2 for half in halves},
        **{f"{half}_attention_heads": 2 for half in halves},
        **{f"{half}_ffn_dim": 16 for half in halves},
        decoder_start_token_id=0,
        forced_eos_token_id=1,
        **SPECIAL,
    )
    return {
        "gpt2": GPT2LMHeadModel(gpt2),
        "llama": LlamaForCausalLM(LlamaConfig(**llama)),
        "t5": T5ForConditionalGeneration(T5Config(**t5)),
        "t5-untied": T5ForConditionalGeneration(T5Config(**t5, tie_word_embeddings=False)),
        "bert": BertForPreTraining(bert),
        "bert-masked": BertForMaskedLM(bert),
        "cohere": CohereForCausalLM(CohereConfig(**llama, logit_scale=0.0625)),
        "plain": TransformerModel(V, 8, 2, 2),
        # Without a projection of their own, or with more than one:
        "gemma2": Gemma2ForCausalLM(Gemma2Config(**llama, head_dim=4, num_key_value_heads=2)),
        "classifier": BertForSequenceClassification(bert),
        "lora": _with_lora(GPT2LMHeadModel(gpt2)),
        "bart": _with_a_bias(BartForConditionalGeneration(bart)),
    }


def _with_a_bias(model: nn.Module) -> nn.Module:
    """BART's own, which its output layer does not know of."""
    model.final_logits_bias.uniform_(-1.0, 1.0)  # type: ignore[operator]
    return model


def _with_lora(model: nn.Module) -> nn.Module:
    injected: nn.Module = inject_adapter_in_model(LoraConfig(target_modules=["lm_head"]), model)
    return injected


MODELS = models()
PROJECTING = ["gpt2", "llama", "t5", "t5-untied", "bert", "bert-masked", "cohere", "plain"]


def inputs_of(model: nn.Module) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, V, (3, 6), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.arange(6).expand(3, 6) < 5}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids[:, :4]
    return inputs


@pytest.mark.parametrize("name", PROJECTING)
def test_states_times_the_projection_are_the_logits(name: str) -> None:
    model = MODELS[name].eval()
    inputs = inputs_of(model)
    found = output_projection(model)
    assert found is not None
    with torch.no_grad():
        output: Any = model(**inputs)
        states = hidden_states(model, **inputs)
        again: Any = model(**inputs)
    logits = getattr(output, "prediction_logits", None)
    logits = output.logits if logits is None else logits
    assert states.shape == (*logits.shape[:2], 8)
    expected = functional.linear(states, found.weight, found.bias)
    torch.testing.assert_close(expected, logits, rtol=1e-5, atol=1e-6)
    assert found.weight is model.get_output_embeddings().weight
    assert "forward" not in vars(found)
    torch.testing.assert_close(getattr(again, "logits", logits), logits)


@pytest.mark.parametrize("name", PROJECTING)
def test_the_loss_and_all_gradients_are_those_of_the_logits(name: str) -> None:
    model = MODELS[name].eval()
    inputs = inputs_of(model)
    length = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
    labels = torch.randint(0, V, (3, length), generator=torch.Generator().manual_seed(2))
    labels[0, 1:3] = -100
    head = output_projection(model)
    assert head is not None
    model.zero_grad()
    states = hidden_states(model, **inputs).flatten(0, 1)
    loss = token_loss_sum(states, head.weight, labels.flatten(), head.bias)
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    exact = copy.deepcopy(model).double()
    exact.zero_grad()
    output: Any = exact(**inputs)
    logits = getattr(output, "prediction_logits", None)
    logits = output.logits if logits is None else logits
    expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    with_gradients = {n for n, p in exact.named_parameters() if p.grad is not None}
    assert set(found) == with_gradients
    for parameter_name, parameter in exact.named_parameters():
        if parameter.grad is None:
            continue
        torch.testing.assert_close(
            found[parameter_name].double(), parameter.grad, rtol=1e-3, atol=1e-4, msg=parameter_name
        )


@pytest.mark.parametrize("name", [*PROJECTING, "gemma2", "lora", "bart"])
def test_the_loss_of_any_model_is_that_of_its_logits(name: str) -> None:
    model = MODELS[name].eval()
    inputs = inputs_of(model)
    length = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
    labels = torch.randint(0, V, (3, length), generator=torch.Generator().manual_seed(2))
    labels[1, 2:] = -100
    with torch.no_grad():
        output: Any = model(**inputs)
        found = label_loss_sum(model, labels, **inputs)
    logits = getattr(output, "prediction_logits", None)
    logits = output.logits if logits is None else logits
    expected = functional.cross_entropy(
        logits.double().flatten(0, 1), labels.flatten(), reduction="sum"
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "classifier", "lora", "bart"])
def test_what_is_no_plain_product_is_told(name: str) -> None:
    assert output_projection(MODELS[name]) is None


def test_looking_leaves_the_model_as_it_was() -> None:
    model = models()["gpt2"].train()
    before = torch.get_rng_state()
    assert output_projection(model) is not None
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())


def test_without_its_head_bert_still_tells_the_next_sentence() -> None:
    model = MODELS["bert"].eval()
    inputs = inputs_of(model)
    with torch.no_grad():
        expected: Any = model(**inputs)
        with headless(model):
            found: Any = model(**inputs)
    assert found.prediction_logits.shape == (3, 6, 8)
    torch.testing.assert_close(found.seq_relationship_logits, expected.seq_relationship_logits)


def test_a_failing_model_keeps_its_head() -> None:
    model = MODELS["gpt2"]
    with pytest.raises(IndexError):
        hidden_states(model, input_ids=torch.tensor([[V + 1]]))
    assert "forward" not in vars(model.get_output_embeddings())
