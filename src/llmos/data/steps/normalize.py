"""The first step: one way to write the same text, no letter changed.

| what                                                             | becomes                       |
|------------------------------------------------------------------|-------------------------------|
| text decoded by the wrong encoding                               | put right (`mojibake`)        |
| letters with marks, jamo, in several ways (Unicode UAX #15)      | NFC                           |
| more than 30 marks in a row (the limit of UAX #15, 13)           | the first 30                  |
| CRLF, CR, vertical tab, form feed, line and paragraph separators | line feeds                    |
| no-break, thin, en, em ... spaces                                | a space                       |
| other control characters, halves of surrogate pairs              | removed, U+FFFD               |
| byte order marks, soft hyphens, marks of text direction          | removed                       |
| zero-width joiners and non-joiners, zero-width spaces            | removed where without meaning |
| blanks at line ends, blank lines at both ends                    | removed                       |
| three blank lines or more                                        | two, as between functions     |

Kept: leading blanks (code, Markdown), tabs, vowel signs and points, full-width and compatibility
letters (no NFKC), the ideographic space, emoji with all that joins them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmos.data.documents import Document
from llmos.data.steps.mojibake import mend_mojibake
from llmos.data.steps.step import Drop

EMPTY = "normalize_empty"
ANSWER_LOST = "normalize_answer_lost"
MARKS = 30
"""Marks in a row: Stream-Safe Text Format; sorting many more takes hours."""

_C0 = "\x00-\x08\x0e-\x1f\x7f"
_SPACE = "\u00a0\u202f\u205f" + "".join(map(chr, range(0x2000, 0x200B)))
_REPLACED = {**dict.fromkeys(_SPACE, " "), "\u2028": "\n", "\u2029": "\n\n"}
_UNSEEN = (
    f"{_C0}\x80-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffc\ufffe\uffff\U000e0000-\U000e007f"
)
# Scripts in which a joiner shapes letters (Hebrew to Mongolian, Khmer and Vedic signs included,
# Arabic and Indic blocks further up), and signs that emoji are made of.
_JOINED = (
    "\u0590-\u109f\u1700-\u1cff\u2190-\u2bff\ua800-\uabff\ufb1d-\ufe0f\ufe70-\ufefc"
    "\U00010800-\U00011fff\U0001e800-\U0001eeff\U0001f000-\U0001faff"
)
# Thai, Lao, Tibetan, Myanmar, Khmer, Tai: a zero-width space stands between words.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"

_BLANKS = " \t\u3000"
_BREAKS = re.compile("\r\n?|[\v\f]")
_CONTROLS = re.compile(f"[{_C0}]")
_BLANK_LINES = re.compile("\n{4,}")
_BLANK_START = re.compile(f"(?:[{_BLANKS}]*\n)+")
_ODD = re.compile(f"[{_UNSEEN}{_SPACE}\u2028\u2029\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]+")
# Where the group matches it has a meaning; what else is unseen goes. Tags spell the flags of
# England, Scotland and Wales behind a black flag.
_UNSEEN_OR_KEPT = re.compile(
    f"[{_UNSEEN}{_SPACE}\u2028\u2029\U0001f3f4](?P<kept>"
    f"(?<=[{_JOINED}][\u200c\u200d])|(?<=[\u200c\u200d])(?=[{_JOINED}])"
    f"|(?<=[{_UNSPACED}]\u200b)|(?<=\u200b)(?=[{_UNSPACED}])"
    "|(?<=\U0001f3f4)(?:[\U000e0020-\U000e007e]{1,32}\U000e007f)?)?"
)
_MARKS = re.compile(rf"[^\w\x00-\x7f]{{{MARKS + 1},}}")  # marks are no word characters to `re`


@dataclass(frozen=True)
class Normalize:
    """Normalise the text, or each field of a record. Counts those changed, and mojibake mended.

    The key is normalised too, so that it is what a reader of the result finds. Drops a document
    whose text, or a record one of whose fields, has nothing left; and a question whose answer no
    longer stands in its context.
    """

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        text, fields = normalize_text(document.text), document.fields
        if fields:
            fields = {name: _field(name, value) for name, value in document.fields.items()}
            if any(_emptied(name, document.fields[name], fields[name]) for name in fields):
                return Drop(EMPTY)
            if _joined(document.fields) == document.text:
                text = _joined(fields)
        if not text:
            return Drop(EMPTY)
        if text == document.text and fields == document.fields:
            return document
        if "start" in fields:
            start = _moved(document.fields, fields)
            if start < 0:
                return Drop(ANSWER_LOST)
            fields = {**fields, "start": str(start)}
        counts["normalized"] += 1
        if mend_mojibake(document.text) != document.text:
            counts["mojibake_mended"] += 1
        return replace(document, text=text, fields=fields, key=normalize_text(document.key))


def normalize_text(text: str) -> str:
    """`text` as the table above says. Normalising what comes out changes nothing more."""
    if "\r" in text or "\v" in text or "\f" in text:
        text = _BREAKS.sub("\n", text)
    if text.isascii():
        text = _CONTROLS.sub("", text) if _CONTROLS.search(text) else text
    else:
        # Again where something changed: it may have stood between a letter and its mark.
        while (better := _unicode(text)) != text:
            text = better
    if " \n" in text or "\t\n" in text or "\u3000\n" in text:
        text = "\n".join([line.rstrip(_BLANKS) for line in text.split("\n")])
    if "\n\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n\n", text)
    text = text.rstrip(_BLANKS + "\n")
    blank = _BLANK_START.match(text)
    return text[blank.end() :] if blank else text


def _unicode(text: str) -> str:
    """One pass of what applies to text with characters beyond ASCII."""
    text = mend_mojibake(text)  # first: what it mends is told by characters that go afterwards
    if _ODD.search(text):
        text = _SURROGATES.sub(_whole, text)
        text = _UNSEEN_OR_KEPT.sub(_seen, text)
    if any(map(unicodedata.combining, text[:: MARKS // 2])):
        text = _MARKS.sub(_fewer_marks, text)
    return unicodedata.normalize("NFC", text)


def _seen(match: re.Match[str]) -> str:
    return _REPLACED.get(match[0], "") if match["kept"] is None else match[0]


def _whole(match: re.Match[str]) -> str:
    """Surrogates in pairs as the characters they stand for, single ones as U+FFFD."""
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fewer_marks(match: re.Match[str]) -> str:
    kept: list[str] = []
    row = 0
    for character in match[0]:
        row = row + 1 if unicodedata.combining(character) else 0
        if row <= MARKS:
            kept.append(character)
    return "".join(kept)


def _field(name: str, value: str) -> str:
    if name != "messages":
        return normalize_text(value)
    messages = [
        {**message, "content": normalize_text(message["content"])} for message in json.loads(value)
    ]
    return json.dumps(messages, ensure_ascii=False)


def _emptied(name: str, before: str, after: str) -> bool:
    """Whether a field, or the content of a message, had something and has nothing left."""
    if name != "messages":
        return bool(before) and not after
    pairs = zip(json.loads(before), json.loads(after), strict=True)
    return any(old["content"] and not new["content"] for old, new in pairs)


def _joined(fields: Mapping[str, str]) -> str:
    """The text that `records` makes of the fields of a record; "" for fields it does not know."""
    if "messages" in fields:
        return "\n".join(message["content"] for message in json.loads(fields["messages"]))
    for names in (("source", "target"), ("context", "question"), ("text",)):
        if all(name in fields for name in names):
            return "\n".join(fields[name] for name in names)
    return ""


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Where the answer begins in the normalised context: as many of its kind before it; or -1."""
    number = _places(before["context"], before["answer"], int(before["start"]))
    start = -1
    for _ in range(number + 1):
        start = after["context"].find(after["answer"], start + 1)
        if start < 0:
            break
    return start


def _places(context: str, answer: str, end: int) -> int:
    """How often `answer` begins in `context` before `end`."""
    count = 0
    at = context.find(answer)
    while 0 <= at < end:
        count += 1
        at = context.find(answer, at + 1)
    return count
