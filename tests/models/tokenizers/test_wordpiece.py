"""WordPiece from counts: what Hugging Face's trainer learns, the same bytes every time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.errors import DataError
from llmos.models.disclosure import add_counts
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.models.tokenizers.wordpiece import train_wordpiece

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = {
    "en": "The members don't send text, they send counts; the counts are of words.",
    "zh": "模型训练完成以后，各方得到同一个模型。",
    "ja": "モデルの訓練を待ちます。",
    "th": "ข้อความที่พบน้อยจะไม่ออกจากบ้าน",
    "ru": "Отправляются только счётчики, а сами тексты остаются дома.",
    "ko": "구성원은 글을 보내지 않고 개수만 보냅니다.",
}


def reference(counts: dict[str, int], size: int) -> Tokenizer:
    """Hugging Face's trainer, given each word as often as it occurs."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), show_progress=False
    )
    made.train_from_iterator(([word] * n for word, n in counts.items()), trainer)
    return made


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcd", min_size=1, max_size=2), min_size=1, unique=True))
def test_without_ties_the_vocabulary_is_that_of_the_reference(words: list[str]) -> None:
    # In a longer word the pairs tie, which the reference resolves by chance.
    counts = {word: 10 + number for number, word in enumerate(words)}
    letters = {*"".join(words)} | {"##" + word[1:] for word in words if word[1:]}
    pairs = sum(len(word) == 2 for word in words)
    for size in range(len(SPECIAL) + len(letters), len(SPECIAL) + len(letters) + pairs + 1):
        expected = reference(counts, size).get_vocab().keys()
        assert train_wordpiece(counts, size, SPECIAL).get_vocab().keys() == expected


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text("ab", min_size=1, max_size=7), st.integers(1, 9), min_size=1))
def test_merges_are_those_of_counting_anew_each_time(counts: dict[str, int]) -> None:
    letters = sorted({*"".join(counts)})
    inside = sorted({"##" + c for word in counts for c in word[1:]})
    tokens = [*SPECIAL, *letters, *inside]
    words = {word: [word[0], *("##" + c for c in word[1:])] for word in counts}
    for size in range(len(tokens), len(tokens) + 4):
        assert train_wordpiece(counts, size, SPECIAL).get_vocab() == {
            token: number for number, token in enumerate(tokens)
        }
        pairs: Counter[tuple[int, int]] = Counter()
        for word, parts in words.items():
            for left, right in pairwise(parts):
                pairs[tokens.index(left), tokens.index(right)] += counts[word]
        if not pairs:
            return
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        left, right = (tokens[number] for number in best)
        tokens.append(left + right.removeprefix("##"))
        for parts in words.values():
            at = 0
            while at < len(parts) - 1:
                if parts[at : at + 2] == [left, right]:
                    parts[at : at + 2] = [tokens[-1]]
                at += 1


def test_real_words_get_as_many_tokens_as_with_the_reference() -> None:
    texts = [tell(sample_story(0, number), "en").text for number in range(60)]
    cut = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in cut.pre_tokenize_str(text))
    tokenizers = train_wordpiece(counts, 300, SPECIAL), reference(counts, 300)
    ours, theirs = (
        sum(n * len(tokenizer.model.tokenize(word)) for word, n in counts.items())
        for tokenizer in tokenizers
    )
    assert ours == pytest.approx(theirs, rel=0.01)


def test_members_counts_in_any_order_give_the_bytes_of_all_text_in_one_place() -> None:
    texts = list(TEXTS.values())
    central = train_wordpiece(count_pieces(texts * 2), 160, SPECIAL)
    members = [count_pieces(texts[:2] * 2), count_pieces(texts[2:]), count_pieces(texts[:1:-1])]
    for order in (members, members[::-1]):
        total = add_counts(order)
        shuffled = dict(reversed(total.items()))
        assert tokenizer_to_bytes(train_wordpiece(shuffled, 160, SPECIAL)) == tokenizer_to_bytes(
            central
        )


def test_words_are_cut_as_bert_cuts_them() -> None:
    # Against BERT's own greedy search in Python, over the same vocabulary.
    tokenizer = train_wordpiece(count_pieces(list(TEXTS.values())), 170, SPECIAL)
    vocabulary = tokenizer.get_vocab()
    for language in ("en", "zh", "ru", "ko"):
        text = TEXTS[language] + " newcounts"
        expected: list[str] = []
        for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(spaced(text)):
            expected += greedy(word, vocabulary)
        assert tokenizer.encode(text).tokens == expected


def spaced(text: str) -> str:
    """BERT's tokenize_chinese_chars: a blank on both sides of each."""
    return "".join(f" {c} " if "\u4e00" <= c <= "\u9fff" else c for c in text)


def greedy(word: str, vocabulary: dict[str, int]) -> list[str]:
    """Longest match first (Devlin et al. 2019, tokenization.py)."""
    found: list[str] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            token = ("##" if start else "") + word[start:end]
            if token in vocabulary:
                break
        else:
            return ["[UNK]"]
        found.append(token)
        start = end
    return found


def test_case_accents_and_scripts_without_spaces_stay_and_rare_characters_do_not() -> None:
    counts = Counter(count_pieces(["Été été ข้อ カード"] * 4000))  # 19 tokens
    counts["☃"] = 1
    tokenizer = train_wordpiece(counts, 19, SPECIAL)
    assert tokenizer.encode("Été ข้อ").tokens[0] == "Été"
    assert tokenizer.encode("ข้อ").tokens == ["ข", "้", "อ"]
    assert tokenizer.encode("☃ été☃").tokens == ["[UNK]", "été", "[UNK]"]
    assert tokenizer.decode(tokenizer.encode("été été").ids) == "été été"


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    counts = count_pieces(TEXTS.values())
    with pytest.raises(DataError, match=r"vocabulary_size 20 is too small for the .* byte_bpe"):
        train_wordpiece(counts, 20, SPECIAL)
    with pytest.raises(DataError, match="vocabulary_size 9000 is too large"):
        train_wordpiece(counts, 9000, SPECIAL)
