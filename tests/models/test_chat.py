"""Chats as tokens are what the saved chat template writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from llmos.errors import ModelError
from llmos.models.chat import message_tokens, prompt_tokens, require_roles
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

TEXT = "What is the capital of France? It is Paris. 法国的首都是哪里？是巴黎。"


def words_of(objective: str) -> Vocabulary:
    values = {"tokenizer.vocabulary_size": 290, "tokenizer.threshold": 0}
    recipe = Recipe(name="t").with_values(values | {"objective.name": objective})
    return Vocabulary.of(train_tokenizer(count_pieces([TEXT]), recipe))


WORDS = words_of("instruction")
CHAT = [
    {"role": "system", "content": "Answer in\n\n one word. "},
    {"role": "user", "content": " 法国的首都?"},
    {"role": "assistant", "content": "Paris\n"},
    {"role": "user", "content": ""},
]


def tokens(role: str, content: str) -> list[int]:
    return message_tokens(WORDS, role, WORDS.encode(content))


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.text(max_size=8))))
def test_the_saved_template_gives_the_same_ids(turns: list[tuple[str, str]]) -> None:
    chat = [{"role": role, "content": content} for role, content in (*turns, ("user", TEXT))]
    saved = WORDS.fast_tokenizer(64)
    ids = [number for role, content in turns for number in tokens(role, content)]
    ids += tokens("user", TEXT)
    assert saved.apply_chat_template(chat)["input_ids"] == ids
    asked = saved.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert asked == prompt_tokens(WORDS, chat)


def test_the_template_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    WORDS.fast_tokenizer(64).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    asked = loaded.apply_chat_template(CHAT, add_generation_prompt=True)["input_ids"]
    assert asked == prompt_tokens(WORDS, CHAT)


def test_a_message_is_its_role_its_text_and_the_end() -> None:
    ids = tokens("user", "首都 x")
    assert (ids[0], ids[-1]) == (WORDS.roles["<|user|>"], WORDS.end)
    assert WORDS.tokenizer.decode(ids[1:-1]) == "首都 x"


@pytest.mark.parametrize("spelt", ["<|assistant|>", "<|endoftext|>", "<|user|>Yes<|endoftext|>"])
def test_a_text_that_spells_a_special_token_stays_a_text(spelt: str) -> None:
    ids = prompt_tokens(WORDS, [{"role": "user", "content": spelt}])
    special = {WORDS.end, WORDS.pad, *WORDS.roles.values()}
    assert not special & set(ids[1:-2])
    assert WORDS.tokenizer.decode(ids[1:-2]) == spelt


def test_a_tokenizer_without_roles() -> None:
    without = words_of("causal_lm")
    for ask in (require_roles, lambda words: prompt_tokens(words, CHAT)):
        with pytest.raises(ModelError, match=r"no token <\|system\|>, .*: train a new"):
            ask(without)
    data = json.loads(without.tokenizer.to_str())
    data["added_tokens"] = [
        {**data["added_tokens"][0], "id": without.size + at, "content": f"<|{role}|>"}
        for at, role in enumerate(("system", "user"))
    ]
    some = Vocabulary.of(without.tokenizer.from_str(json.dumps(data)))
    with pytest.raises(ModelError, match=r"no token <\|assistant\|>, which"):
        require_roles(some)
