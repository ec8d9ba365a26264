"""Sentence ends in several scripts, and that nothing of a text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.sentences import sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["He came.", " She left!", " Why?", " Nobody knows…", " It rained."],
        ["Mr. Smith met Dr. Jones of the U.S. Army, e.g. J. R. Stone.", " They spoke."],
        ['"What?" he said.', ' "No."', " (Yes.)", " Good."],
        ["It cost 3.14 at example.org today.", " Cheap."],
        ["Am 3. Oktober kam z.B. Frau Meier.", " Es war spät."],
        ["¿Qué hora es?", " ¡Hola! —dijo él.", " «Sí.»", " Ella rió."],
        ["А. С. Пушкин родился в 1799 г. в Москве.", " Он поэт."],
        ["他说：“你好吗？”", "她走了。", "天气很好！！", "真的？"],
        ["今日は晴れです。", "明日は？", "雨だ。"],
        ["오늘은 날씨가 좋다.", " 나는 갔다."],
        ["ما اسمك؟", " أنا سعيد.", " یہ کتاب ہے۔", " وہ آیا۔"],
        ["यह एक वाक्य है।", " दूसरा वाक्य।", " तीसरा॥"],
        ["ይህ አረፍተ ነገር ነው።", " ሌላ።"],
        ["ประโยคแรก", "\nประโยคที่สอง", "\nประโยคที่สาม"],
        ["# A heading", "\n\nThe text below it.", "\n- one", "\n- two"],
        ["1. Open the door.", "\n2. Close it."],
        ["A line that is\nwrapped goes on.", "\nThe next one", "\n\nbegins after a gap."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected


@pytest.mark.parametrize("text", ["", " \n\t ", "\n"])
def test_blank_text_has_no_sentence(text: str) -> None:
    assert sentences(text) == []


@given(st.text(alphabet="aB. \n!?…。؟।\"'(”)1é中", max_size=60) | st.text(max_size=40))
def test_joined_they_are_the_text_and_none_is_blank(text: str) -> None:
    found = sentences(text)
    if text.strip():
        assert "".join(found) == text
    assert all(sentence.strip() for sentence in found)
