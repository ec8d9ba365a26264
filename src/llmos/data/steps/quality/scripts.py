"""Scripts that put no blanks between words: their letters, and how many of them make a word."""

from __future__ import annotations

import re

_SOUTH_EAST = (
    # Letters, then the marks that a letter carries, then letters per word.
    (r"\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46", r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e", 3.3),  # Thai
    (r"\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf",
     r"\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece", 2.3),  # Lao
    (r"\u1780-\u17b3\u17d7\u17dc", r"\u17b4-\u17d3\u17dd", 3.2),  # Khmer
    (r"\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081"
     r"\u108e\uaa60-\uaa7a",
     r"\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d"
     r"\u108f\u109a-\u109d\uaa7b-\uaa7d", 2.5),  # Burmese and its neighbours
)  # fmt: skip
_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_HIRAGANA = r"\u3041-\u3096\u309d-\u309f"
_KATAKANA = r"\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"

LETTERS_PER_WORD = {
    _HAN: 1.75,
    _HIRAGANA: 1.4,
    **{letters: number for letters, _, number in _SOUTH_EAST},
}
"""For each class of letters how many make a word.

Measured with jieba on Chinese (1.70 to 1.80), janome on Japanese (kanji 1.72 to 1.80, hiragana 1.33
to 1.44), pythainlp on Thai (3.31), laonlp, khmer-nltk and pyidaungsu on the little text at hand in
Lao, Khmer and Burmese: take those three for rough. Katakana words stand out by themselves.
"""

_UNSPACED = "".join(LETTERS_PER_WORD) + _KATAKANA
HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
CHUNKS = re.compile(
    f"[{_HAN}{_HIRAGANA}]|[{_KATAKANA}]+|"
    + "|".join(f"[{letters}][{marks}]*" for letters, marks, _ in _SOUTH_EAST)
    + rf"|[^\s{_UNSPACED}]+"
)
"""What lies between blanks, cut further at each letter of these scripts and around Katakana."""

WITHOUT_SENTENCE_MARKS = re.compile(r"[\u0e01-\u0e4e\u0e81-\u0ece]")
"""Letters of Thai and Lao, which mark the end of a sentence by a blank or not at all."""
WIDE = re.compile(r"[\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\uac00-\ud7a3\uf900-\ufaff"
                  r"\ufe30-\ufe4f\uff01-\uff60\uffe0-\uffe6\U00020000-\U0003fffd]")  # fmt: skip
"""Characters as wide as two Latin letters (Unicode Standard Annex 11), and about as telling."""
_SENTENCE_MARKS = """
21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 F0D-F0E 104A-104B 1362 1367-1368 166E
1735-1736 17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B4E-1B4F 1B5A-1B5B 1B5E-1B5F 1B7D-1B7F
1C3B-1C3C 1C7E-1C7F 2024 203C-203D 2047-2049 2CF9-2CFB 2E2E 2E3C 2E53-2E54 2E60-2E61 3002 A4FF
A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE12 FE15-FE16 FE52
FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1
11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 113D4-113D5 1144B-1144C
115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42
11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16D6E-16D6F 16E98 1BC9F 1DA88
"""
SENTENCE_MARKS = frozenset(
    chr(code)
    for first, _, last in (part.partition("-") for part in _SENTENCE_MARKS.split())
    for code in range(int(first, 16), int(last or first, 16) + 1)
)
"""Marks that end a sentence: those of Unicode 17's property Sentence_Terminal, the marks of Khmer
that datatrove has besides, and the shad of Tibetan."""
