"""How long texts get, and for which language it costs more."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from llmos.models.bpe import train_bpe
from llmos.models.tokenizers.fertility import fairness_gap, fertility, premiums

BYTES = train_bpe({}, 256, [])


def test_of_single_bytes_everything_can_be_counted_by_hand() -> None:
    found = fertility(BYTES, ["Two words, 3 ...", "é"])
    assert (found.texts, found.tokens, found.size, found.characters) == (2, 18, 18, 17)
    assert found.words == 4  # the three dots are no word
    assert found.tokens_per_word == 18 / 4
    assert found.bytes_per_token == 1
    assert found.characters_per_token == 17 / 18
    assert found.unknown_share == found.fallback_share == 0


@pytest.mark.parametrize("text", ["模型训练完成以后。", "ข้อความ API", "モデル, die Welt"])
def test_words_are_not_counted_in_scripts_without_spaces(text: str) -> None:
    assert fertility(BYTES, [text]).words is None
    assert fertility(BYTES, [text]).tokens_per_word is None


@pytest.mark.parametrize(
    "text", ["모델 훈련", "हिन्दी में", "The character 模 is in this sentence", "12 34"]
)
def test_words_are_counted_where_there_are_spaces(text: str) -> None:
    assert fertility(BYTES, [text]).words == len(text.split())


def test_unknown_words_and_bytes_that_stand_in_are_counted() -> None:
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    assert fertility(words, ["a b a c"]).unknown_share == 0.5
    reserved = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = [*((token, -100.0) for token in reserved), ("a", -1.0)]
    pieces = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    found = fertility(pieces, ["aé"])
    assert (found.tokens, found.fallback, found.unknown) == (3, 2, 0)


def test_no_text_has_no_figures() -> None:
    found = fertility(BYTES, [])
    assert (found.tokens, found.words, found.bytes_per_token) == (0, 0, 0)
    assert found.tokens_per_word is None


def test_the_same_content_costs_more_in_some_languages() -> None:
    # Article 1 of the UDHR begins so in English, Russian and Chinese.
    parallel = {
        "en": fertility(BYTES, ["All human beings are born free"]),
        "ru": fertility(BYTES, ["Все люди рождаются свободными"]),
        "zh": fertility(BYTES, ["人人生而自由"]),
    }
    assert premiums(parallel, "en") == {"en": 1, "ru": 55 / 30, "zh": 18 / 30}
    assert fairness_gap(parallel) == 55 / 18
