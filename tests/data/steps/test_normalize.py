"""The normalising step: what it changes, what it must not, and that doing it twice is enough."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.documents import Document
from llmos.data.records import RECORDS
from llmos.data.rows import Row
from llmos.data.steps.mojibake import mend_mojibake
from llmos.data.steps.normalize import MARKS, Normalize, normalize_text
from llmos.data.steps.step import Drop
from llmos.recipe import DataSection

ZWNJ, ZWJ, ZWSP = "\u200c", "\u200d", "\u200b"
# Characters of each kind that the step knows, with letters and marks of many scripts.
ODD = (
    "aZé Ãâ€œ\x80\x85\xa0\xad\n\t\r\v\f\0\x1f\x7f\u3000\u0301\u0323\u0344\u2028\u2029\u2009"
    "\u200b\u200c\u200d\u200e\u202a\u2060\u061c\ufeff\ufffd\ufffe\ud83d\ude00\U0001f3f4\U000e0067"
    "\U000e007f\U0001f468\u2695\ufe0fकि्सمیشّلไทកខ中が\u3099ᄒ\u1161ᆫ각①ﬁΩ"
)
TEXTS = st.one_of(st.text(alphabet=ODD, max_size=30), st.text(max_size=30))


def normalized(document: Document) -> Document:
    result = Normalize()(document, Counter())
    assert isinstance(result, Document)
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dÃ©jÃ\xa0 vu â€“ l’Ã©tÃ©", "déjà vu – l’été"),
        ("bon\u2028soir\u2029fin", "bon\nsoir\n\nfin"),
        ("one\r\ntwo\rthree\fpage", "one\ntwo\nthree\npage"),
        ("tail  \t\nnext\u3000\nlast \n\n", "tail\nnext\nlast"),
        ("a\n\n\n\n\n\nb\n\n\nc", "a\n\n\nb\n\n\nc"),
        ("\ufeff \n\t\n    def f():\n\treturn 1", "    def f():\n\treturn 1"),
        ("10\u202f000\xa0€ «\xa0mot\u2009»", "10 000 € « mot »"),
        ("so\xadft zero\u200bwidth\u2060 \u202eoverride\u202c\x00\x1b", "soft zerowidth override"),
        ("\ud83d\ude00 \ud800!", "😀 \ufffd!"),
        ("ab\x08cd", "abcd"),
        ("e\u00ad\u0301", "é"),
    ],
)
def test_changes(text: str, expected: str) -> None:
    assert normalize_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "بِسْمِ اللَّهِ الرَّحْمَٰنِ الرَّحِيمِ",
        f"می{ZWNJ}خواهم کتاب{ZWNJ}ها",
        f"क्{ZWJ}ष र्{ZWNJ}क हिन्दी में",
        f"বাংলা র্{ZWJ}যাব",
        f"ශ්{ZWJ}රී ලංකා",
        f"ภาษาไทย{ZWSP}ที่นี่ น้ำ",
        f"ភាសា{ZWSP}ខ្មែរ",
        "ＡＢＣ，「全角」！　①②ﬁ ½ ㎏",
        "　　段落の始め。が、ぱ・カタカナ",
        "한국어 문장입니다",
        "Tiếng Việt có dấu: ươ ệ",
        "Ελληνικά ά «λόγος» Ў ђ Њ",
        f"👨🏽{ZWJ}⚕️ 👩{ZWJ}👩{ZWJ}👧 🏳️{ZWJ}🌈 1️⃣ 🏴\U000e0067\U000e0062\U000e0065\U000e007f 🏴",
        "naïve cœur; Ærø, ÞÓR, İstanbul, Łódź, º ª « » “a” ‘b’ – — …",
        "    indented\n\tcode:  x  =  1\n\n\nclass A: pass",
    ],
)
def test_leaves_alone(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert normalize_text(text) == text


def test_composes_what_keyboards_and_files_decompose() -> None:
    for text in ("한국어 각", "Tiếng Việt ệ", "がぱ", "हिन्दी", "é"):
        decomposed = unicodedata.normalize("NFD", text)
        assert normalize_text(decomposed) == unicodedata.normalize("NFC", text)


def test_joiners_without_meaning_go() -> None:
    assert normalize_text(f"Auf{ZWNJ}lage {ZWJ}x{ZWJ} 中{ZWSP}文 {ZWNJ}") == "Auflage x 中文"


def test_marks_without_end_are_cut_before_they_cost_hours() -> None:
    text = "x" + "\u0323\u0301" * 300_000 + "yz"  # quadratic in unicodedata.normalize
    short = normalize_text(text)
    assert short == unicodedata.normalize("NFC", "x" + "\u0323\u0301" * (MARKS // 2) + "yz")


@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_twice_is_once(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode()  # no surrogates


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=20))
def test_letters_marks_and_signs_stay(text: str) -> None:
    """All but spaces is what NFC makes of it, unless ftfy sees mojibake in it."""
    if not is_bad(unicodedata.normalize("NFC", text)) and not is_bad(text):
        assert re.sub(r"\s", "", normalize_text(text)) == re.sub(
            r"\s", "", unicodedata.normalize("NFC", text)
        )


def _mojibake_characters() -> str:
    matching = re.compile("[" + "".join(MOJIBAKE_CATEGORIES.values()) + "]")
    return "".join(filter(matching.match, map(chr, range(0x10000))))


def test_mojibake_is_mended_as_by_ftfy_alone() -> None:
    rng = random.Random(5)
    every = _mojibake_characters()
    telling = "ØÙàÃÂÎÐ√≈‚ÄâóвЂГўВΒΓΞΟРСβ€œŒ×²°“”«»a. \u00a0"
    suspected = mended = 0
    for _ in range(1500):
        letters = rng.choice((every, telling, telling + "".join(rng.sample(every, 9))))
        lines = [
            "é" * rng.randrange(9)
            + "".join(rng.choices(letters, k=rng.randrange(1, 8)))
            + "xyz" * 3
            for _ in range(3)
        ]
        expected = "\n".join(map(ftfy.fix_encoding, lines))
        assert mend_mojibake("\n".join(lines)) == expected
        suspected += any(map(is_bad, lines))
        mended += expected != "\n".join(lines)
    assert suspected > 500
    assert mended > 30


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp1251", "macroman", "cp437"])
def test_whole_texts_read_by_a_wrong_encoding(encoding: str) -> None:
    text = "Größe, déjà vu, señor – «Москва» and “quotes”"
    wrong = text.encode().decode(encoding, "ignore")
    lines = f"fine: café\n{wrong}\nplain"
    assert mend_mojibake(lines) == "\n".join(map(ftfy.fix_encoding, lines.split("\n")))


def _record(kind: str, values: Mapping[str, Any]) -> Document:
    return RECORDS[kind](Row(Path("f.jsonl"), "line 1", "f.jsonl:1", dict(values)), DataSection())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("pair", {"source": "\n cafe\u0301 ", "target": "coffee\r\n\n\n\n\nx \n"}),
        ("labelled", {"text": "\n\nbon\xa0film ", "label": "good "}),
        (
            "chat",
            {
                "messages": [
                    {"role": "user", "content": "\n\u200bHi\r\n"},
                    {"role": "assistant", "content": "dÃ©jÃ\xa0 vu"},
                ]
            },
        ),
        (
            "question",
            {
                "context": "\n ab\r\nab \xa0\nab\xadab ab",
                "question": "ab?\n",
                "answers": [{"text": "ab", "answer_start": 6}],
            },
        ),
    ],
)
def test_a_record_is_what_reading_its_fields_again_gives(
    kind: str, values: Mapping[str, Any]
) -> None:
    result = normalized(_record(kind, values))
    fields: dict[str, Any] = dict(result.fields)
    if kind == "chat":
        fields["messages"] = json.loads(fields["messages"])
        assert fields["messages"][1]["content"] == "déjà vu"
    if kind == "question":
        fields["answers"] = [{"text": fields["answer"], "answer_start": int(fields["start"])}]
    assert _record(kind, fields) == result


def test_the_same_occurrence_of_an_answer_is_named() -> None:
    context = "\r\n\r\nRome, then  \r\nRome, and Rome."
    start = context.rindex("Rome,")
    document = _record(
        "question",
        {"context": context, "question": "?", "answers": [{"text": "Rome", "answer_start": start}]},
    )
    fields = normalized(document).fields
    assert fields["context"] == "Rome, then\nRome, and Rome."
    assert int(fields["start"]) == 11


def test_drops_what_is_empty_and_answers_that_are_lost() -> None:
    step, counts = Normalize(), Counter[str]()
    assert step(Document("a", " \n\u200b\x00 "), counts) == Drop("normalize_empty")
    pair = Document("b", "\u200b\nx", {"source": "\u200b", "target": "x"})
    assert step(pair, counts) == Drop("normalize_empty")
    chat = [{"role": "user", "content": "\u200b"}, {"role": "assistant", "content": "x"}]
    messages = Document("c", "\u200b\nx", {"messages": json.dumps(chat)})
    assert step(messages, counts) == Drop("normalize_empty")
    fields = {"context": "cafe\u0301 x", "question": "y", "answer": "cafe", "start": "0"}
    lost = Document("d", "cafe\u0301 x\ny", fields)
    assert step(lost, counts) == Drop("normalize_answer_lost")
    assert not counts


def test_counts_what_it_changed() -> None:
    step, counts = Normalize(), Counter[str]()
    same = Document("a", "déjà")
    assert step(same, counts) is same
    step(Document("b", "x "), counts)
    step(Document("c", "dÃ©jÃ\xa0 vu"), counts)
    assert counts == {"normalized": 2, "mojibake_mended": 1}
