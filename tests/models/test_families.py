"""Model families: transformers' own classes, as the recipe describes them, from the seed alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM

from llmos.errors import ModelError
from llmos.models.arrays import get_weights
from llmos.models.bpe import train_bpe
from llmos.models.families import CLASSES, CONFIGS, build_model
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import KEYS, ModelSection

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TOKENIZER = train_bpe({"abab": 9}, 260, SPECIAL_TOKENS)
SECTION = {"num_layers": 2, "num_heads": 2, "hidden_size": 20, "context_length": 24}


def section(family: str, dropout: float = 0.0) -> ModelSection:
    return ModelSection(family=family, dropout=dropout, **SECTION)


def test_the_families_are_those_of_the_recipe() -> None:
    assert set(CONFIGS) == set(CLASSES) == set(KEYS["model.family"].about.choices)


@pytest.mark.parametrize(
    ("family", "kind"), [("gpt2", GPT2LMHeadModel), ("llama", LlamaForCausalLM)]
)
def test_a_model_is_as_the_recipe_says(family: str, kind: type) -> None:
    model = build_model(section(family, dropout=0.25), Vocabulary.of(TOKENIZER), seed=0)
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


@pytest.mark.parametrize(("hidden", "intermediate"), [(12, 32), (24, 64), (128, 352), (768, 2048)])
def test_llama_has_swiglu_of_eight_thirds_in_multiples_of_32(
    hidden: int, intermediate: int
) -> None:
    config = CONFIGS["llama"](ModelSection(hidden_size=hidden), 300, 0, 1)
    assert config.intermediate_size == intermediate
    assert 0 <= intermediate - 8 * hidden / 3 < 32


@pytest.mark.parametrize("family", CLASSES)
def test_the_seed_alone_decides_the_weights(family: str) -> None:
    torch.manual_seed(1)
    first = get_weights(build_model(section(family), Vocabulary.of(TOKENIZER), seed=3))
    torch.manual_seed(2)
    again = get_weights(build_model(section(family), Vocabulary.of(TOKENIZER), seed=3))
    other = get_weights(build_model(section(family), Vocabulary.of(TOKENIZER), seed=4))
    assert first.tobytes() == again.tobytes()
    assert np.mean(first != other) > 0.8
    assert np.isfinite(first).all()


@pytest.mark.parametrize("family", CLASSES)
def test_the_random_state_of_the_caller_is_left_alone(family: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_model(section(family), Vocabulary.of(TOKENIZER), seed=3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("family", CLASSES)
def test_the_kind_of_attention_changes_speed_only(family: str) -> None:
    eager = build_model(section(family), Vocabulary.of(TOKENIZER), seed=0).eval()
    assert eager.config._attn_implementation == "eager"
    fused = copy.deepcopy(eager)
    fused.set_attn_implementation("sdpa")
    ids = torch.arange(48).reshape(2, 24)
    with torch.no_grad():
        torch.testing.assert_close(eager(ids).logits, fused(ids).logits, rtol=1e-4, atol=1e-5)
        # Causal: what comes later changes nothing before it.
        changed = ids.clone()
        changed[:, 12:] = 9
        torch.testing.assert_close(eager(ids).logits[:, :12], eager(changed).logits[:, :12])


def test_a_tokenizer_without_the_special_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match=r"lacks <\|pad\|>"):
        build_model(section("gpt2"), train_bpe({}, 257, ["<|endoftext|>"]), seed=0)
