"""Unigram from counts: exact sums, no worse than Hugging Face's trainer, the same bytes always."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.errors import DataError
from llmos.models.disclosure import add_counts
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.models.tokenizers.candidates import Candidates
from llmos.models.tokenizers.lattice import Words
from llmos.models.tokenizers.unigram import train_unigram

SPECIAL = ("<pad>", "</s>", "<unk>")
TEXTS = {
    "en": "The members don't send text, they send counts; the counts are of words.",
    "zh": "模型训练完成以后，各方得到同一个模型。共同训练的模型可以学习。",
    "ja": "共同で訓練されたモデルは、モデルの訓練を待ちます。",
    "th": "ข้อความที่พบน้อยจะไม่ออกจากบ้าน ข้อความที่พบ",
    "ru": "Отправляются только счётчики, а сами тексты остаются дома.",
}
COUNTS = count_pieces([text for text in TEXTS.values() for _ in range(5)])
TOKENIZER = train_unigram(COUNTS, 420, SPECIAL)


def candidates(counts: dict[str, int], seeds: int) -> tuple[Candidates, list[str], list[str]]:
    """The candidates, their spellings, and the words in the order of the lattice."""
    alphabet = sorted({character for word in counts for character in word})
    words = sorted(counts, key=lambda word: (-len(word), word))
    codes = np.zeros((len(words), len(words[0])), np.int64)
    for row, word in enumerate(words):
        codes[row, : len(word)] = [alphabet.index(character) for character in word]
    lengths = np.array([len(word) for word in words])
    weights = np.array([float(counts[word]) for word in words])
    made = Candidates(Words(codes, lengths), weights, len(alphabet), seeds)
    spelled = ["".join(alphabet[c] for c in made.spelling(n)) for n in range(len(made.weight))]
    return made, spelled, words


def cuts(word: str, pieces: set[str]) -> Iterator[list[str]]:
    """All ways to cut `word` into pieces, one by one."""
    if not word:
        yield []
    for end in range(1, len(word) + 1):
        if word[:end] in pieces:
            for rest in cuts(word[end:], pieces):
                yield [word[:end], *rest]


some_counts = st.dictionaries(
    st.text("ab", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(some_counts, st.randoms(use_true_random=False), st.integers(1, 12))
def test_expected_uses_are_those_of_all_ways_to_cut_each_word(
    counts: dict[str, int], random: Random, seeds: int
) -> None:
    made, spelled, words = candidates(counts, seeds)
    share = np.array([random.random() + 0.01 for _ in spelled])
    of = dict(zip(spelled, share.tolist(), strict=True))
    expected = dict.fromkeys(spelled, 0.0)
    for word in words:
        ways = list(cuts(word, set(of)))
        chances = [math.prod(of[piece] for piece in way) for way in ways]
        for way, chance in zip(ways, chances, strict=True):
            for piece in way:
                expected[piece] += counts[word] * chance / sum(chances)
    uses = made.lattice.expected(share, np.array([float(counts[word]) for word in words]))
    assert dict(zip(spelled, uses.tolist(), strict=True)) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(some_counts, st.randoms(use_true_random=False))
def test_the_best_other_way_to_cut_a_piece_is_found(counts: dict[str, int], random: Random) -> None:
    made, spelled, _ = candidates(counts, 100)
    share = np.array([random.random() + 0.01 for _ in spelled])
    of = dict(zip(spelled, share.tolist(), strict=True))
    found, parts = made.as_words().best_cuts(share)
    for number, piece in enumerate(spelled):
        way = [spelled[cut[number]] for cut in found if cut[number] >= 0][::-1]
        assert len(way) == parts[number]
        others = [way for way in cuts(piece, set(of)) if way != [piece]]
        if not others:
            assert not way
            continue
        assert "".join(way) == piece and len(way) > 1
        best = max(math.prod(of[part] for part in other) for other in others)
        assert math.prod(of[part] for part in way) == pytest.approx(best)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=20), st.integers(1, 9), min_size=1))
@settings(max_examples=40, deadline=None)
def test_candidates_are_the_substrings_that_occur_twice(counts: dict[str, int]) -> None:
    made, spelled, _ = candidates(counts, 10**6)
    frequency: dict[str, int] = {}
    for word, count in counts.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 16, len(word)) + 1):
                part = word[start:end]
                frequency[part] = frequency.get(part, 0) + count
    expected = {part: n for part, n in frequency.items() if n >= 2 or len(part) == 1}
    weights = dict(zip(spelled, made.weight.tolist(), strict=True))
    assert weights == {part: n * len(part) for part, n in expected.items()}


def test_members_counts_in_any_order_give_the_bytes_of_all_text_in_one_place() -> None:
    texts = list(TEXTS.values())
    central = tokenizer_to_bytes(TOKENIZER)
    members = [count_pieces(texts * 2), count_pieces(texts[:2] * 3), count_pieces(texts[2:] * 3)]
    for order in (members, members[::-1]):
        shuffled = dict(reversed(add_counts(order).items()))
        assert tokenizer_to_bytes(train_unigram(shuffled, 420, SPECIAL)) == central


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=30)
    | st.text("".join(TEXTS.values()) + "</s>0x41 \n", max_size=40)
)
@settings(deadline=None)
def test_decoding_gives_the_text_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


def test_text_that_spells_a_special_token_or_a_byte_does_not_get_it() -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode("</s> <unk> <0x41>").ids
    assert tokenizer.decode(ids) == "</s> <unk> <0x41>"
    assert not {0, 1, 2, tokenizer.token_to_id("<0x41>")} & set(ids)


def test_ids_are_special_tokens_bytes_and_pieces_from_the_likeliest_on() -> None:
    model = json.loads(TOKENIZER.to_str())["model"]
    names = [token for token, _ in model["vocab"]]
    assert names[:3] == list(SPECIAL) and model["unk_id"] == 2
    assert names[3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    scores = [score for _, score in model["vocab"][259:]]
    assert scores == sorted(scores, reverse=True)
    assert sum(map(math.exp, scores)) == pytest.approx(1, abs=1e-3)
    assert len(names) == 420


def test_texts_get_no_longer_than_with_the_reference() -> None:
    counts = count_pieces(
        tell(sample_story(0, number), code).text for number in range(40) for code in ("en", "zh")
    )
    words = {piece.replace(" ", "▁"): n for piece, n in counts.items()}
    reference = Tokenizer(models.Unigram())
    trainer = trainers.UnigramTrainer(vocab_size=500, unk_token="<unk>", show_progress=False)
    reference.train_from_iterator(([word] * n for word, n in words.items()), trainer)
    ours = train_unigram(counts, 756, ["<unk>"])  # the same but for the bytes

    def tokens(tokenizer: Tokenizer) -> int:
        return sum(n * len(tokenizer.model.tokenize(word)) for word, n in words.items())

    assert tokens(ours) <= 1.01 * tokens(reference)


def test_a_vocabulary_that_does_not_fit_is_refused_with_what_can() -> None:
    with pytest.raises(DataError, match=r"vocabulary_size 300 is too small for 256 bytes .* use"):
        train_unigram(COUNTS, 300, SPECIAL)
    with pytest.raises(DataError, match="vocabulary_size 50000 is too large") as caught:
        train_unigram(COUNTS, 50_000, SPECIAL)
    supported = int(str(caught.value).split("at most ")[1].split(",")[0])
    assert train_unigram(COUNTS, supported, SPECIAL).get_vocab_size() == supported
    assert train_unigram({}, 259, SPECIAL).get_vocab_size() == 259
