"""Many texts at once are those that come one by one."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, processors

from llmos.errors import UsageError
from llmos.models.families import build_model
from llmos.models.generate_batch import generate_batch
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

torch.set_num_threads(1)  # over models this small, threads only wait for one another

SOURCES = ["the tree", "", "水", "a house and a tree and a street", "bread, water 面包", "x"]
FAMILIES = ("t5", "gpt2", "llama")


@cache
def made(family: str) -> tuple[Any, Vocabulary]:
    recipe = Recipe(name="t").with_values(
        {
            "model.family": family,
            "model.num_layers": 2,
            "model.num_heads": 2,
            "model.hidden_size": 32,
            "model.context_length": 48,
            "tokenizer.vocabulary_size": 370 if family == "t5" else 270,
            "tokenizer.threshold": 0,
            "training.sequence_length": 48,
            "objective.name": "seq2seq" if family == "t5" else "causal_lm",
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces([*SOURCES, *SOURCES]), recipe))
    head = recipe.objective.name
    model = build_model(recipe.model, words, seed=5, head=head)
    with torch.no_grad():  # far from even, so that the padding would show
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval(), words


def alone(family: str, ids: list[int], num_beams: int, new: int) -> str:
    """What transformers writes for one row, without padding."""
    model, words = made(family)
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=new,
        num_beams=num_beams,
        do_sample=False,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )[0].tolist()
    return str(words.tokenizer.decode(found if family == "t5" else found[len(ids) :]))


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_what_each_source_gives_alone(family: str, num_beams: int) -> None:
    model, words = made(family)
    encoded = [words.encode(source) for source in SOURCES]
    rows = [[*r, words.end] if family == "t5" else [words.end, *r] for r in encoded]
    expected = [alone(family, row, num_beams, 12) for row in rows]
    assert len(set(expected)) >= 3  # not the same whatever the source
    options: dict[str, Any] = {"max_new_tokens": 12, "num_beams": num_beams}
    for batch_size in (1, 4, 32):
        assert generate_batch(model, words, SOURCES, batch_size=batch_size, **options) == expected
    assert generate_batch(model, words, rows, **options) == expected  # given as ids
    assert generate_batch(model, words, SOURCES[::-1], **options) == expected[::-1]


def test_a_text_ends_at_the_end_of_text() -> None:
    model, words = made("gpt2")
    rows = [[words.end, *words.encode(source)] for source in SOURCES]
    first = [model(torch.tensor([row])).logits[0, -1].argmax().item() for row in rows]
    ends = Vocabulary.of(words.tokenizer, {"eos_token_id": first[0]})
    written = generate_batch(model, ends, rows, max_new_tokens=5)
    assert written[0] == "" and any(written)


def test_the_model_is_left_as_it_was() -> None:
    model, words = made("gpt2")
    model.generation_config.do_sample = True  # as a published decoder has it
    model.train()
    try:
        options: dict[str, Any] = {"max_new_tokens": 8}
        written = [generate_batch(model, words, SOURCES, **options) for _ in range(3)]
        assert written[0] == written[1] == written[2]
        assert model.training and model.generation_config.do_sample
    finally:
        model.generation_config.do_sample = False
        model.eval()


def test_a_source_ends_with_the_end_of_text_whatever_the_tokenizer_does() -> None:
    model, words = made("t5")
    bare = Tokenizer.from_str(words.tokenizer.to_str())
    bare.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    expected = generate_batch(model, words, SOURCES, max_new_tokens=8)
    assert generate_batch(model, Vocabulary.of(bare), SOURCES, max_new_tokens=8) == expected


def test_no_sources() -> None:
    model, words = made("gpt2")
    assert generate_batch(model, words, [], max_new_tokens=4) == []


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_prompt_that_leaves_no_room(family: str) -> None:
    model, words = made(family)
    prompt = [words.end] * 40
    assert len(generate_batch(model, words, [prompt, "x"], max_new_tokens=8)) == 2
    with pytest.raises(UsageError, match=r"40 tokens and 9 new ones do not fit .* 48: shorten"):
        generate_batch(model, words, [prompt, "x"], max_new_tokens=9)


def test_an_encoder_decoder_may_read_more_than_its_context() -> None:
    model, words = made("t5")
    assert len(generate_batch(model, words, ["tree " * 100], max_new_tokens=60)) == 1
