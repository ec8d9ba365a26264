"""A vocabulary: which token plays which part, and how many bytes each token stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.errors import ModelError
from llmos.models.disclosure import add_counts
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
from llmos.models.vocabulary import (
    BERT_TOKENS,
    ROLES,
    SENTINELS,
    T5_TOKENS,
    Vocabulary,
    special_tokens,
    train_joint_tokenizer,
    train_tokenizer,
)
from llmos.recipe import Recipe

TEXTS = [
    "The members don't send text , they send counts .\n\n  Then they rest.",
    "模型训练完成以后，各方得到同一个模型。",
    "Café déjà vu, Ångström; हिन्दी में गिनती 12345 ❤\ufe0f 👩‍👩‍👧",
]


def recipe(family: str = "gpt2", objective: str = "causal_lm", size: int = 400) -> Recipe:
    labels = ["a", "b"] if objective == "classification" else []
    return Recipe(name="words").with_values(
        {
            "model.family": family,
            "objective.name": objective,
            "objective.labels": labels,
            "tokenizer.vocabulary_size": size,
        }
    )


COUNTS = count_pieces(TEXTS * 5)
NEW = {
    "gpt2": recipe(),
    "instruction": recipe("llama", "instruction"),
    "bert": recipe("bert", "masked_lm"),
    "t5": recipe("t5", "seq2seq"),
}


def made(name: str) -> Tokenizer:
    return train_tokenizer(COUNTS, NEW[name])


# Tokenizers of bases, as usual libraries make them


def trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def wordpiece() -> Tokenizer:
    """BERT's: lower case, no accents, Chinese by characters, unknown words as [UNK]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return trained(tokenizer, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special))


def unigram() -> Tokenizer:
    """T5's: NFKC (a ligature becomes two letters), runs of blanks as one, blanks as ▁."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(" {2,}", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>", *SENTINELS[:5]]
    )
    return trained(tokenizer, trainer)


def byte_fallback() -> Tokenizer:
    """Llama 2's: BPE over characters, with tokens for the bytes of those it does not know."""
    letters = ["▁", *"Themoftcand"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *letters, "▁T", "he"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[("▁", "T"), ("h", "e")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def composing() -> Tokenizer:
    """Byte-level, but it composes letters and accents first and puts a blank before the text."""
    tokenizer = tokenizer_from_bytes(tokenizer_to_bytes(made("gpt2")))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


BYTE_LEVEL = {name: Vocabulary.of(made(name)) for name in NEW}
BASES = {
    "wordpiece": Vocabulary.of(wordpiece()),
    "unigram": Vocabulary.of(unigram()),
    "byte_fallback": Vocabulary.of(byte_fallback()),
    "composing": Vocabulary.of(composing()),
}

any_text = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.text("".join(TEXTS) + "<|>[]\ufb01\u0301", max_size=60)
    | st.builds(
        lambda text, before, after: before + text + after,
        st.sampled_from(TEXTS),
        st.sampled_from(["", " ", "\n \t", "\u3000"]),
        st.sampled_from(["", "  ", "\r\n", "👩‍👩‍👧 "]),
    )
)


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *BASES])
@settings(max_examples=100, deadline=None)
@given(text=any_text)
@example(text="")
@example(text=" The 👩‍👩‍👧 \n")
@example(text="e\u0301 \ufb01ne ½")
def test_the_tokens_of_a_text_share_out_all_its_bytes(name: str, text: str) -> None:
    words = BYTE_LEVEL.get(name) or BASES[name]
    tokens, sizes = words.encode_with_bytes(text)
    assert tokens == words.encode(text)
    assert len(sizes) == len(tokens)
    assert (sizes >= 0).all()
    if tokens:
        assert sizes.sum() == len(text.encode())
    else:  # what a tokenizer leaves out of a text is all that this text holds
        assert name in ("wordpiece", "unigram") or not text


@given(any_text)
def test_byte_level_tokens_have_exactly_their_own_bytes(text: str) -> None:
    words = BYTE_LEVEL["gpt2"]
    tokens, sizes = words.encode_with_bytes(text)
    # Decoded one by one with a byte-level decoder, every token gives its bytes back.
    alphabet = {symbol: number for number, symbol in enumerate(bytes_to_unicode())}
    spelled = [bytes(alphabet[c] for c in words.tokenizer.id_to_token(t)) for t in tokens]
    assert b"".join(spelled) == text.encode()
    assert sizes.tolist() == [len(piece) for piece in spelled]


def bytes_to_unicode() -> str:
    """GPT-2's symbol of each byte (Radford et al. 2019, encoder.py), in the order of bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return "".join(chr(byte) if byte in plain else chr(next(moved)) for byte in range(256))


def test_words_that_are_no_bytes_have_those_up_to_their_own_end() -> None:
    words = BASES["wordpiece"]
    tokens, sizes = words.encode_with_bytes(" The  Café 模型 ")
    names = [words.tokenizer.id_to_token(token) for token in tokens]
    assert names[0] == "the" and names[-2:] == ["模", "型"]
    # A blank belongs to the word behind it, those at the end to the last.
    assert sizes[0] == len(" The")
    assert sizes[-2:].tolist() == [len(" 模".encode()), len("型 ".encode())]
    assert sizes[1:-2].sum() == len("  Café".encode())


# New tokenizers ----------------------------------------------------------------------------------


def parts(words: Vocabulary) -> dict[str, str | None]:
    name = words.tokenizer.id_to_token
    ids = {"end": words.end, "pad": words.pad, "begin": words.begin}
    ids |= {"separator": words.separator, "mask": words.mask}
    return {part: None if number is None else name(number) for part, number in ids.items()}


@pytest.mark.parametrize(
    ("name", "first", "expected"),
    [
        ("gpt2", ("<|endoftext|>", "<|pad|>"), ("<|endoftext|>", "<|pad|>", "<|endoftext|>")),
        (
            "instruction",
            ("<|endoftext|>", "<|pad|>", *ROLES),
            ("<|endoftext|>", "<|pad|>", "<|endoftext|>"),
        ),
        ("bert", BERT_TOKENS, ("[SEP]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")),
        ("t5", T5_TOKENS, ("</s>", "<pad>", None, "</s>", None)),
    ],
)
def test_a_new_tokenizer_has_the_special_tokens_of_its_family(
    name: str, first: Sequence[str], expected: Sequence[str | None]
) -> None:
    words = BYTE_LEVEL[name]
    assert special_tokens(NEW[name]) == tuple(first)
    assert [words.tokenizer.id_to_token(number) for number in range(len(first))] == list(first)
    assert list(parts(words).values()) == [*expected, *[None] * (5 - len(expected))]
    assert words.size == 400
    assert len(words.sentinels) == (100 if name == "t5" else 0)
    assert list(words.roles) == (list(ROLES) if name == "instruction" else [])
    if name == "t5":
        assert [words.tokenizer.id_to_token(n) for n in words.sentinels] == list(SENTINELS)
        assert SENTINELS[0] == "<extra_id_0>" and SENTINELS[99] == "<extra_id_99>"


def test_the_family_s_tokenizer_frames_a_text() -> None:
    def tokens(name: str, *texts: str) -> list[str]:
        words = BYTE_LEVEL[name]
        encoding = words.tokenizer.encode(*texts)
        return [t for t in encoding.tokens if words.tokenizer.token_to_id(t) in special(words)]

    def special(words: Vocabulary) -> set[int | None]:
        return {words.end, words.pad, words.begin, words.separator, words.mask}

    assert tokens("bert", "one") == ["[CLS]", "[SEP]"]
    assert tokens("bert", "one", "two") == ["[CLS]", "[SEP]", "[SEP]"]
    assert tokens("t5", "one") == ["</s>"] and tokens("t5", "one", "two") == ["</s>", "</s>"]
    assert tokens("gpt2", "one", "two") == []
    for words in BYTE_LEVEL.values():  # what llmos encodes is the text alone
        assert not set(words.encode("one")) & special(words)


# A Unigram model has special tokens among its pieces, where a text finds them whatever is asked.
@pytest.mark.parametrize("name", [*BYTE_LEVEL, "wordpiece", "byte_fallback", "composing"])
def test_a_text_that_spells_a_special_token_does_not_get_it(name: str) -> None:
    words = BYTE_LEVEL.get(name) or BASES[name]
    tokens = words.tokenizer.get_added_tokens_decoder()
    text = " ".join(token.content for token in tokens.values())
    unknown = {words.tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>")}
    assert set(words.encode(text)) & set(tokens) <= unknown


@given(st.lists(any_text, max_size=5))
def test_many_texts_are_encoded_as_each_alone(texts: list[str]) -> None:
    words = BYTE_LEVEL["bert"]
    assert words.encode_all(texts) == [words.encode(text) for text in texts]


# Tokenizers of bases -----------------------------------------------------------------------------


def of(*tokens: str, config: dict[str, Any] | None = None) -> Vocabulary:
    vocabulary = {token: number for number, token in enumerate((*tokens, "word"))}
    return Vocabulary.of(Tokenizer(models.WordLevel(vocabulary)), config)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        # GPT-2; it has no padding, so the end pads.
        (["<|endoftext|>"], ("<|endoftext|>", "<|endoftext|>", "<|endoftext|>", None, None)),
        (  # BERT
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            ("[SEP]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"),
        ),
        (  # RoBERTa, XLM-R
            ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            ("</s>", "<pad>", "<s>", "</s>", "<mask>"),
        ),
        (["<pad>", "</s>", "<unk>"], ("</s>", "<pad>", None, "</s>", None)),  # T5
        (["<unk>", "<s>", "</s>"], ("</s>", "</s>", "<s>", "</s>", None)),  # Llama 2
        (  # Llama 3
            ["<|begin_of_text|>", "<|end_of_text|>"],
            ("<|end_of_text|>", "<|end_of_text|>", "<|begin_of_text|>", None, None),
        ),
        (  # Gemma
            ["<pad>", "<eos>", "<bos>"],
            ("<eos>", "<pad>", "<bos>", None, None),
        ),
    ],
)
def test_the_parts_of_usual_tokenizers_are_known(
    tokens: list[str], expected: Sequence[str | None]
) -> None:
    assert tuple(parts(of(*tokens)).values()) == tuple(expected)


def test_what_the_model_says_goes_before_the_names() -> None:
    tokens = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fill|>")
    config: dict[str, Any] = {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 3}
    words = of(*tokens, config=config)
    assert (words.end, words.begin, words.pad) == (2, 1, 3)
    # Several ends: the first. What is not said is known by its name.
    words = of(*tokens, config={"eos_token_id": [2, 0]})
    assert (words.end, words.begin, words.pad) == (2, 0, 2)
    # Ids that the tokenizer does not have, as many configurations state.
    for nonsense in (None, 5, 50256, -1):
        config = dict.fromkeys(config, nonsense)
        words = of(*tokens, config=config)
        assert (words.end, words.begin, words.pad) == (0, 0, 0)


def test_ids_may_have_gaps() -> None:
    tokenizer = Tokenizer(models.WordLevel({"</s>": 0, "word": 1, "<pad>": 9}))
    words = Vocabulary.of(tokenizer, {"eos_token_id": 9, "pad_token_id": 5})
    assert (words.end, words.pad) == (9, 9)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no token that ends a text .* add one") as caught:
        of("[PAD]", "<s>")
    assert "\n" not in str(caught.value)
    # Unless the model says which it is.
    assert of("[PAD]", "<stop>", config={"eos_token_id": 1}).end == 1


def test_a_part_that_is_missing_is_told() -> None:
    words = BYTE_LEVEL["gpt2"]
    with pytest.raises(ModelError, match=r"no mask token \(\[MASK\] or <mask>\): .*base") as caught:
        words.require("mask")
    assert "\n" not in str(caught.value)
    assert BYTE_LEVEL["bert"].require("mask") == 3
    assert words.require("begin") == 0


# As transformers has it --------------------------------------------------------------------------


CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Who rests?\n"},
    {"role": "assistant", "content": "各方。"},
]


def test_a_chat_is_roles_texts_and_ends(tmp_path: Path) -> None:
    words = BYTE_LEVEL["instruction"]
    words.fast_tokenizer(64).save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    expected: list[int] = []
    for message in CHAT:
        role = words.roles[f"<|{message['role']}|>"]
        expected += [role, *words.encode(message["content"]), words.end]

    def ids(**options: Any) -> list[int]:
        return list(saved.apply_chat_template(CHAT, return_dict=False, **options))

    assert ids() == expected
    assert ids(add_generation_prompt=True) == [*expected, words.roles["<|assistant|>"]]
    assert saved.apply_chat_template(CHAT[2:], tokenize=False) == (
        "<|assistant|>各方。<|endoftext|>"
    )


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_without_roles_there_is_no_chat(name: str) -> None:
    assert BYTE_LEVEL[name].fast_tokenizer(64).chat_template is None


@pytest.mark.parametrize("name", BYTE_LEVEL)
@given(text=any_text)
@settings(max_examples=20, deadline=None)
def test_decoding_is_lossless(name: str, text: str) -> None:
    words = BYTE_LEVEL[name]
    fast = words.fast_tokenizer(64)
    assert fast.decode(words.encode(text)) == text


def test_segments_are_told_apart_where_they_are_asked_for() -> None:
    words = BYTE_LEVEL["bert"]
    pair = words.fast_tokenizer(64, segments=True)("one", "two")
    first, second = (len(words.encode(text)) for text in ("one", "two"))
    assert pair["token_type_ids"] == [0] * (first + 2) + [1] * (second + 1)
    assert set(words.fast_tokenizer(64)("one", "two")) == {"input_ids", "attention_mask"}


# Other algorithms --------------------------------------------------------------------------------


def with_algorithm(algorithm: str, family: str, objective: str) -> Vocabulary:
    made = recipe(family, objective, 500 if family == "t5" else 400)
    made = made.with_values({"tokenizer.algorithm": algorithm})
    stories = [tell(sample_story(0, number), "en").text for number in range(40)]
    return Vocabulary.of(train_tokenizer(count_pieces(stories), made))


@pytest.mark.parametrize(
    ("algorithm", "family", "objective", "first", "unknown"),
    [
        # The ids of T5 and, but for gaps, of BERT.
        ("unigram", "t5", "seq2seq", ("<pad>", "</s>", "<unk>", SENTINELS[0]), 2),
        ("unigram", "gpt2", "causal_lm", ("<|endoftext|>", "<|pad|>", "<unk>"), 2),
        ("unigram", "llama", "instruction", ("<|endoftext|>", "<|pad|>", "<unk>", *ROLES), 2),
        ("wordpiece", "bert", "masked_lm", ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), 1),
    ],
)
def test_other_algorithms_have_a_token_for_what_they_do_not_know(
    algorithm: str, family: str, objective: str, first: Sequence[str], unknown: int
) -> None:
    words = with_algorithm(algorithm, family, objective)
    assert words.size == (500 if family == "t5" else 400) and words.unknown == unknown
    assert [words.tokenizer.id_to_token(number) for number in range(len(first))] == list(first)
    assert words.fast_tokenizer(64).unk_token == first[unknown]
    ends = {"t5": ["</s>"], "bert": ["[CLS]", "[SEP]"]}.get(family, [])
    tokens = words.tokenizer.encode("rest").tokens
    assert [token for token in tokens if token in ("[CLS]", "[SEP]", "</s>")] == ends


UNIGRAM = with_algorithm("unigram", "gpt2", "causal_lm")


@settings(max_examples=60, deadline=None)
@given(text=any_text.filter(lambda text: "▁" not in text))
def test_unigram_gives_every_text_back_and_shares_out_its_bytes(text: str) -> None:
    tokens, sizes = UNIGRAM.encode_with_bytes(text)
    assert UNIGRAM.fast_tokenizer(64).decode(tokens) == text
    assert sizes.sum() == len(text.encode())


def test_members_are_weighted_by_the_temperature() -> None:
    plain = recipe(size=300)
    members = [count_pieces(TEXTS[:1] * 200), count_pieces(TEXTS[1:2] * 5)]
    tokenizers = [
        train_joint_tokenizer(members, plain.with_values({"tokenizer.temperature": temperature}))
        for temperature in (1.0, 5.0)
    ]
    chinese, english = (
        [len(tokenizer.encode(text).ids) for tokenizer in tokenizers]
        for text in (TEXTS[1], TEXTS[0])
    )
    assert chinese[1] < chinese[0] and english[1] >= english[0]
    together = train_tokenizer(add_counts(members), plain)
    assert tokenizer_to_bytes(tokenizers[0]) == tokenizer_to_bytes(together)
