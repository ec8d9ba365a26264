"""Training from counts equals Hugging Face's trainer on all texts in one place, bit for bit."""

from __future__ import annotations

import gzip
import json
import os
import re
from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llmos.errors import DataError, UsageError
from llmos.models.bpe import byte_symbols, train_bpe
from llmos.models.disclosure import add_counts, counts_from_bytes, counts_to_bytes, disclose
from llmos.models.pieces import byte_level, count_pieces, pre_tokenizer
from llmos.models.tokenizer import SPECIAL_TOKENS, tokenizer_to_bytes, train_central
from llmos.models.tokenizers.mixing import mix_counts

TEXTS = {
    "en": "A model that is trained together learns from text that none of its makers may show to "
    "the others. Don't send the text; send counts, and count only what isn't rare. 1,024 of 65536.",
    "de": "Ein gemeinsam trainiertes Modell lernt aus Texten, die keiner der Beteiligten zeigen "
    "darf. Verschickt werden nur Zählungen, und gezählt wird nur, was nicht selten ist.",
    "fr": "Un modèle entraîné ensemble apprend de textes qu'aucun des membres n'a le droit de "
    "montrer. On n'envoie que des comptes, et l'on ne compte que ce qui n'est pas rare.",
    "zh": "共同训练的模型可以从各方都不能公开的文本中学习。各方只发送计数，不发送文本；"
    "罕见的字符串不会离开本地。模型训练完成以后，各方得到同一个模型，也得到同一个分词器。",
    "ja": "共同で訓練されたモデルは、どの参加者も公開できない文章から学びます。"
    "参加者は文章を送らず、数だけを送ります。コーヒーを飲みながらモデルの訓練を待ちます。",
    "th": "แบบจำลองที่ฝึกร่วมกันเรียนรู้จากข้อความที่ไม่มีใครเปิดเผยได้ "
    "สมาชิกส่งเฉพาะจำนวนนับและไม่ส่งข้อความ ข้อความที่พบน้อยจะไม่ออกจากบ้าน",
    "hi": "साथ मिलकर प्रशिक्षित मॉडल उन पाठों से सीखता है जिन्हें कोई सदस्य दिखा नहीं सकता। "
    "सदस्य केवल गिनती भेजते हैं, पाठ नहीं भेजते।",
    "ar": "يتعلم النموذج الذي يُدرَّب معا من نصوص لا يجوز لأي عضو أن يعرضها. "
    "يرسل الأعضاء الأعداد فقط ولا يرسلون النصوص.",
    "ru": "Модель, обученная вместе, учится на текстах, которые никто из участников не вправе "
    "показать. Отправляются только счётчики, а сами тексты остаются дома.",
    "km": "គំរូដែលបានបណ្តុះបណ្តាលរួមគ្នា រៀនពីអត្ថបទដែលគ្មានសមាជិកណាអាចបង្ហាញបាន។",
}  # fmt: skip

SHARED = Path(
    os.environ.get("LLMOS_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)


def vocabulary_and_merges(tokenizer: Tokenizer) -> tuple[dict[str, int], list[list[str]]]:
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], model["merges"]


def reference(counts: dict[str, int], vocabulary_size: int, special: list[str]) -> Tokenizer:
    """Hugging Face's trainer, given each piece as often as it occurs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([[piece] * n for piece, n in counts.items()], trainer)
    return tokenizer


def test_byte_symbols_are_the_alphabet_of_the_reference() -> None:
    assert sorted(byte_symbols()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    for byte, symbol in enumerate(byte_symbols()):
        if byte < 0x80:
            assert byte_level().pre_tokenize_str(chr(byte))[0][0] == symbol


@pytest.mark.parametrize("language", TEXTS)
def test_each_language_equals_central_training(language: str) -> None:
    texts = [TEXTS[language]]
    joint = train_bpe(count_pieces(texts), 330, SPECIAL_TOKENS)
    assert tokenizer_to_bytes(joint) == tokenizer_to_bytes(train_central(texts, 330))


def test_four_members_in_any_order_equal_central_training() -> None:
    texts = list(TEXTS.values())
    members = [texts[:3], texts[3:6], texts[6:9], [*texts[9:], *texts[:2]]]
    sent = [counts_to_bytes(disclose(count_pieces(member), 0)) for member in members]
    central = train_central([text for member in members for text in member], 900)
    assert central.get_vocab_size() == 900
    for order in permutations(sent):
        total = add_counts(counts_from_bytes(data) for data in order)
        assert tokenizer_to_bytes(train_bpe(total, 900, SPECIAL_TOKENS)) == tokenizer_to_bytes(
            central
        )


@pytest.mark.parametrize("language", ["en", "de", "fr", "hi", "ar", "ru"])
def test_spaced_languages_equal_the_reference_without_any_step_of_ours(language: str) -> None:
    texts = [TEXTS[language]] * 3
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(texts, trainer)
    joint = train_bpe(count_pieces(texts), 340, SPECIAL_TOKENS)
    assert vocabulary_and_merges(joint) == vocabulary_and_merges(plain)


# Two letters give what text seldom has: ties everywhere, pairs that overlap themselves (aaa), and
# special tokens that merges spell.
@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=14), st.integers(1, 6), max_size=25),
    st.lists(st.text("ab", min_size=2, max_size=4), unique=True, max_size=3),
    st.data(),
)
def test_ties_overlaps_and_spelled_special_tokens_equal_the_reference(
    counts: dict[str, int], special: list[str], data: st.DataObject
) -> None:
    everything = reference(counts, 100_000, special)
    size = data.draw(st.integers(256 + len(special), everything.get_vocab_size()))
    trained = train_bpe(counts, size, special)
    assert vocabulary_and_merges(trained) == vocabulary_and_merges(reference(counts, size, special))
    shuffled = dict(data.draw(st.permutations(list(counts.items()))))
    assert tokenizer_to_bytes(train_bpe(shuffled, size, special)) == tokenizer_to_bytes(trained)


def test_real_text_of_seven_languages_equals_central_training() -> None:
    folder = SHARED / "pretrain-hf-course" / "jsonl"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set LLMOS_SHARED_DATA to the data folder")
    members = []
    for language in ("en", "zh-CN", "ja", "th", "fr", "hi", "ar"):
        (path,) = folder.glob(f"{language}.jsonl*")
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
        members.append([json.loads(line)["text"] for line in lines[:12]])
    total = add_counts(count_pieces(member) for member in members)
    joint = train_bpe(total, 4000, SPECIAL_TOKENS)
    central = train_central((text for member in members for text in member), 4000)
    assert tokenizer_to_bytes(joint) == tokenizer_to_bytes(central)


def test_members_of_five_languages_equal_central_training_on_text_of_our_own() -> None:
    # Longer texts of a member each, put together from its own clauses in a fixed order.
    members = []
    for language in ("en", "zh", "ja", "th", "hi"):
        clauses = re.split(r"(?<=[.,;。，；、। ])", TEXTS[language])
        random = Random(language)
        members.append(["".join(random.sample(clauses, len(clauses))) for _ in range(30)])
    sent = [counts_to_bytes(disclose(count_pieces(member), 0)) for member in members]
    joint = train_bpe(add_counts(map(counts_from_bytes, sent)), 800, SPECIAL_TOKENS)
    central = train_central((text for member in members for text in member), 800)
    assert tokenizer_to_bytes(joint) == tokenizer_to_bytes(central)


@pytest.mark.slow
def test_real_text_of_twenty_languages_equals_central_training() -> None:
    folder = SHARED / "pretrain-hf-course" / "jsonl"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set LLMOS_SHARED_DATA to the data folder")
    members = []
    for path in sorted(folder.glob("*.jsonl*")):
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
        members.append([json.loads(line)["text"] for line in lines])
    assert len(members) == 20
    total = mix_counts([disclose(count_pieces(member), 0) for member in members])
    joint = train_bpe(total, 16_000, SPECIAL_TOKENS)
    central = train_central((text for member in members for text in member), 16_000)
    assert tokenizer_to_bytes(joint) == tokenizer_to_bytes(central)


def test_counts_beyond_32_bits_are_exact() -> None:
    # 3 * 2^31 wraps to a negative number in 32 bits and would lose to the pair in "cd".
    trained = train_bpe({"ab": 3 * 2**31, "cd": 2}, 257, [])
    assert trained.token_to_id("ab") == 256


@pytest.mark.parametrize("train", ["counts", "central"])
def test_a_vocabulary_that_the_text_cannot_fill_is_refused_with_what_can(train: str) -> None:
    text = TEXTS["zh"]

    def run(size: int) -> Tokenizer:
        if train == "central":
            return train_central([text], size)
        return train_bpe(count_pieces([text]), size, SPECIAL_TOKENS)

    with pytest.raises(DataError, match="vocabulary_size 50000 is too large") as caught:
        run(50_000)
    supported = int(str(caught.value).split("at most ")[1].split(",")[0])
    assert run(supported).get_vocab_size() == supported
    with pytest.raises(DataError, match=f"support {supported} tokens"):
        run(supported + 1)


@pytest.mark.parametrize("train", ["counts", "central"])
def test_a_vocabulary_smaller_than_bytes_and_special_tokens_is_refused(train: str) -> None:
    with pytest.raises(DataError, match=r"vocabulary_size 257 is too small.*at least 258"):
        if train == "central":
            train_central(["text"], 257)
        else:
            train_bpe({"text": 9}, 257, SPECIAL_TOKENS)
    assert train_bpe({}, 258, SPECIAL_TOKENS).get_vocab_size() == 258


@pytest.mark.parametrize("special", [["<s>", "<s>"], [""], ["a"]])
def test_unfit_special_tokens_are_refused(special: list[str]) -> None:
    with pytest.raises(UsageError, match="special token"):
        train_bpe({"text": 9}, 300, special)
