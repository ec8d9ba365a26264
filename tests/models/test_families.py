"""Model families: transformers' own classes, as the recipe describes them, from the seed alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    GPT2ForQuestionAnswering,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    T5ForConditionalGeneration,
)

from llmos.models.arrays import get_weights
from llmos.models.families import CONFIGS, HEADS, build_model, configuration
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import KEYS, SIZES, ModelSection, Recipe

torch.set_num_threads(1)  # over models this small, threads only wait for one another

SECTION = {"num_layers": 2, "num_heads": 2, "hidden_size": 20, "context_length": 24}
OBJECTIVE = {"gpt2": "causal_lm", "llama": "causal_lm", "bert": "masked_lm", "t5": "seq2seq"}
HEAD = {"gpt2": "causal_lm", "llama": "causal_lm", "bert": "masked_lm", "t5": "seq2seq"}


def recipe(family: str, **model: Any) -> Recipe:
    values: dict[str, Any] = {**SECTION, "family": family, **model}
    return Recipe(name="families").with_values(
        {
            "objective.name": OBJECTIVE[family],
            "tokenizer.vocabulary_size": 260 if family != "t5" else 358,
            "training.sequence_length": 24,
            **{f"model.{key}": value for key, value in values.items()},
        }
    )


WORDS = {family: Vocabulary.of(train_tokenizer({"abab": 9}, recipe(family))) for family in CONFIGS}


def section(family: str, dropout: float = 0.0, **more: Any) -> ModelSection:
    return replace(recipe(family, **more).model, dropout=dropout)


def build(family: str, seed: int = 0, **more: Any) -> Any:
    return build_model(section(family, **more), WORDS[family], seed, head=HEAD[family])


def vocabulary_of(size: int) -> Vocabulary:
    """A vocabulary of `size` tokens, of which only the number matters."""
    tokens = {"</s>": 0, "<pad>": 1} | {f"t{n}": n for n in range(2, size)}
    return Vocabulary.of(Tokenizer(models.WordLevel(tokens)))


def parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_families_are_those_of_the_recipe() -> None:
    assert set(CONFIGS) == set(KEYS["model.family"].about.choices)


@pytest.mark.parametrize(
    ("family", "kind"), [("gpt2", GPT2LMHeadModel), ("llama", LlamaForCausalLM)]
)
def test_a_decoder_is_as_the_recipe_says(family: str, kind: type) -> None:
    model = build(family, dropout=0.25)
    config = model.config
    assert type(model) is kind
    assert config.num_hidden_layers == 2
    assert config.num_attention_heads == 2
    assert config.hidden_size == 20
    assert config.max_position_embeddings == 24
    assert config.vocab_size == 260
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (0, 0, 1)
    assert config.tie_word_embeddings
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    dropouts = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert dropouts == ({0.25} if family == "gpt2" else set())
    if family == "llama":
        assert config.attention_dropout == 0.25


def test_bert_is_as_the_recipe_says() -> None:
    model = build("bert", dropout=0.25, intermediate_size=50)
    config, words = model.config, WORDS["bert"]
    assert type(model) is BertForMaskedLM
    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 2)
    assert (config.hidden_size, config.intermediate_size) == (20, 50)
    assert (config.max_position_embeddings, config.vocab_size, config.type_vocab_size) == (
        24,
        260,
        2,
    )
    assert config.pad_token_id == words.pad == 0
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_t5_is_as_the_recipe_says() -> None:
    model = build("t5", dropout=0.25, intermediate_size=50)
    config, words = model.config, WORDS["t5"]
    assert type(model) is T5ForConditionalGeneration
    assert config.is_encoder_decoder
    assert (config.num_layers, config.num_decoder_layers, config.num_heads) == (2, 2, 2)
    assert (config.d_model, config.d_kv, config.d_ff, config.vocab_size) == (20, 10, 50, 358)
    assert (config.pad_token_id, config.eos_token_id) == (words.pad, words.end) == (0, 1)
    # As published by its authors: the decoder begins with the padding token.
    assert config.decoder_start_token_id == words.pad
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize(("hidden", "intermediate"), [(12, 32), (24, 64), (128, 352), (768, 2048)])
def test_llama_has_swiglu_of_eight_thirds_in_multiples_of_32(
    hidden: int, intermediate: int
) -> None:
    config = CONFIGS["llama"](ModelSection(family="llama", hidden_size=hidden), WORDS["llama"])
    assert config.intermediate_size == intermediate
    assert 0 <= intermediate - 8 * hidden / 3 < 32


@pytest.mark.parametrize("family", CONFIGS)
def test_the_width_inside_the_blocks_can_be_stated(family: str) -> None:
    shapes = {tuple(p.shape) for p in build(family, intermediate_size=70).parameters()}
    assert (70, 20) in shapes or (20, 70) in shapes
    usual = {tuple(p.shape) for p in build(family).parameters()}
    inside = 64 if family == "llama" else 80
    assert (inside, 20) in usual or (20, inside) in usual


@pytest.mark.parametrize(("groups", "width"), [(1, 6), (2, 12), (4, 24), (0, 24)])
def test_llama_shares_keys_and_values_between_groups_of_heads(groups: int, width: int) -> None:
    model = build("llama", hidden_size=24, num_heads=4, num_key_value_heads=groups)
    attention = model.model.layers[0].self_attn
    assert attention.k_proj.weight.shape == attention.v_proj.weight.shape == (width, 24)
    assert attention.q_proj.weight.shape == attention.o_proj.weight.shape == (24, 24)


# Sizes -------------------------------------------------------------------------------------------


def formula(family: str, model: ModelSection, v: int) -> int:
    """The number of weights, from the architecture's own description."""
    h, layers, context = model.hidden_size, model.num_layers, model.context_length
    if family == "gpt2":  # 12 h^2 of matrices a block, 9 h of biases, two norms of 2 h
        return v * h + context * h + layers * (12 * h * h + 13 * h) + 2 * h
    if family == "llama":
        inside = (8 * h // 3 + 31) // 32 * 32
        shared = h * (model.num_key_value_heads or model.num_heads) // model.num_heads
        return v * h + layers * (2 * h * h + 2 * h * shared + 3 * h * inside + 2 * h) + h
    if family == "bert":  # the head: a layer, a norm, a bias for each token
        embeddings = (v + context + 2) * h + 2 * h
        block = 4 * (h * h + h) + 2 * 4 * h * h + 5 * h + 2 * 2 * h
        return embeddings + layers * block + (h * h + h + 2 * h + v)
    # T5: no biases; 32 buckets of relative positions for each head, in either half.
    encoder, decoder = 4 * h * h + 8 * h * h + 2 * h, 8 * h * h + 8 * h * h + 3 * h
    return v * h + 2 * 32 * model.num_heads + layers * (encoder + decoder) + 2 * h


def weightless(
    monkeypatch: pytest.MonkeyPatch, size: str, family: str, words: Vocabulary, **more: Any
) -> tuple[ModelSection, Any]:
    """A model of that size without memory for its weights."""
    monkeypatch.setenv("LLMOS_DEVICE", "meta")
    made = Recipe(name="x").with_values(
        {
            "model.size": size,
            "model.family": family,
            "objective.name": OBJECTIVE[family],
            **{f"model.{key}": value for key, value in more.items()},
        }
    )
    with torch.device("meta"):
        return made.model, build_model(made.model, words, seed=0, head=HEAD[family])


BIG = vocabulary_of(50257)


@pytest.mark.parametrize("size", ["tiny", "124m"])
@pytest.mark.parametrize(
    ("family", "more"),
    [("gpt2", {}), ("llama", {}), ("llama", {"num_key_value_heads": 2}), ("bert", {}), ("t5", {})],
)
def test_a_family_has_as_many_weights_as_its_architecture(
    monkeypatch: pytest.MonkeyPatch, family: str, more: dict[str, Any], size: str
) -> None:
    model, built = weightless(monkeypatch, size, family, BIG, context_length=512, **more)
    assert parameters(built) == formula(family, model, 50257)


def test_the_sizes_of_well_known_models(monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpt2 = weightless(monkeypatch, "124m", "gpt2", BIG, context_length=1024)
    assert parameters(gpt2) == 124_439_808  # GPT-2, as published
    words = vocabulary_of(30522)
    _, bert = weightless(monkeypatch, "124m", "bert", words, context_length=512)
    # BERT base uncased, as published: 109,482,240 without the head for masked tokens, with the
    # pooler; 768 * 768 + 768 are the pooler, the head is another such layer, a norm and biases.
    assert parameters(bert) == 109_482_240 + 2 * 768 + 30522
    words = vocabulary_of(32128)
    _, t5 = weightless(monkeypatch, "124m", "t5", words)
    assert parameters(t5) == 222_903_552  # T5 base, as published


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize(
    ("size", "weights"), [("124m", 124e6), ("350m", 350e6), ("1b", 1e9), ("7b", 7e9)]
)
def test_a_size_is_what_its_name_says(
    monkeypatch: pytest.MonkeyPatch, family: str, size: str, weights: float
) -> None:
    assert SIZES.keys() == set(KEYS["model.size"].about.choices) - {""}
    _, built = weightless(monkeypatch, size, family, BIG, context_length=1024)
    assert abs(parameters(built) / weights - 1) < 0.1


# Heads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "head", "kind"),
    [
        ("bert", "masked_lm_next_sentence", BertForPreTraining),
        ("bert", "classification", BertForSequenceClassification),
        ("llama", "classification", LlamaForSequenceClassification),
        ("gpt2", "extractive_qa", GPT2ForQuestionAnswering),
    ],
)
def test_the_head_gives_the_class(family: str, head: str, kind: type) -> None:
    assert set(HEAD.values()) < set(HEADS)
    labels = ("bad", "so-so", "good") if head == "classification" else ()
    model = build_model(section(family), WORDS[family], 0, head=head, labels=labels)
    assert type(model) is kind
    if labels:
        assert model.config.id2label == {0: "bad", 1: "so-so", 2: "good"}
        assert model.config.label2id == {"bad": 0, "so-so": 1, "good": 2}
        assert model.config.num_labels == 3


# Determinism -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CONFIGS)
def test_the_seed_alone_decides_the_weights(family: str) -> None:
    torch.manual_seed(1)
    first = get_weights(build(family, seed=3))
    torch.manual_seed(2)
    again = get_weights(build(family, seed=3))
    other = get_weights(build(family, seed=4))
    assert first.tobytes() == again.tobytes()
    assert np.mean(first != other) > 0.8
    assert np.isfinite(first).all()


@pytest.mark.parametrize("family", CONFIGS)
def test_the_random_state_of_the_caller_is_left_alone(family: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build(family, seed=3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_kind_of_attention_changes_speed_only(family: str) -> None:
    eager = build(family).eval()
    assert eager.config._attn_implementation == "eager"
    fused = copy.deepcopy(eager)
    fused.set_attn_implementation("sdpa")
    assert fused.config._attn_implementation == "sdpa"
    ids = torch.arange(48).reshape(2, 24)
    inputs = {"attention_mask": torch.ones_like(ids)}
    inputs["attention_mask"][1, 20:] = 0
    name = "decoder_input_ids" if family == "t5" else "input_ids"
    if family == "t5":
        inputs["input_ids"] = ids + 100

    def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(**inputs, **{name: ids}).logits
        return found[:, :20]

    with torch.no_grad():
        torch.testing.assert_close(logits(eager, ids), logits(fused, ids), rtol=1e-4, atol=1e-5)
        changed = ids.clone()
        changed[:, 12:] = 9
        before, after = logits(eager, ids)[:, :12], logits(eager, changed)[:, :12]
        if family == "bert":  # looks both ways
            assert not torch.allclose(before, after, atol=1e-4)
        else:  # Causal: what comes later changes nothing before it.
            torch.testing.assert_close(before, after)


# Copies of a base --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CONFIGS)
def test_a_config_takes_the_place_of_the_dimensions(family: str) -> None:
    base = build(family, hidden_size=24, num_layers=1)
    content = base.config.to_dict()
    other = section("llama" if family == "gpt2" else "gpt2", num_layers=2)
    built = build_model(other, WORDS[family], 5, head=HEAD[family], config=content)
    assert type(built) is type(base)
    assert {n: p.shape for n, p in built.named_parameters()} == {
        n: p.shape for n, p in base.named_parameters()
    }
    assert content == base.config.to_dict()  # it is only read
    made = configuration(other, WORDS[family], labels=("a", "b"), config=content)
    assert made.id2label == {0: "a", 1: "b"} and made.hidden_size == 24
