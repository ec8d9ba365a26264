"""Text cut into sentences, by the marks that end one in the scripts of the world.

A rule of thumb for objectives that need sentence ends, not an analysis: where it errs, a sentence
is a little too long or too short. Text without any of the marks (Thai, lists, poems, code) is cut
at its lines.
"""

from __future__ import annotations

import re
from itertools import pairwise

_CLOSING = r"[\"'”’»›」』）】)\]*_]*"
_ENDS = re.compile(
    # These end a sentence wherever they stand: Chinese and Japanese, Arabic and Urdu, Devanagari
    # and other scripts of India, Armenian, Ethiopic, Burmese, Khmer.
    rf"(?P<sure>[。！？｡؟۔।॥։።፧။។]+{_CLOSING})"
    # These may stand within one: an abbreviation, a number, "What?" he said.
    rf"|(?P<perhaps>[.!?…]+{_CLOSING})(?=\s)"
    r"|(?<=\S)(?P<line>)(?=[^\S\n]*\n)"
)
_NEXT = re.compile(r"(?P<gap>\s*)[\"'“‘„«‹「『（【¿¡(\[*_–—-]*(?P<first>.?)", re.DOTALL)
_OPENING = "\"'“‘„«‹(["
_LONGEST_WORD = 40

# A name or a number follows them, so that the capital after them begins no sentence.
_ABBREVIATIONS = re.compile(
    "(?:mrs?|ms|dr|prof|st|sr|jr|mme|mlle|sra|srta|dña|dott|sig|fr|hr|mag|ing|dipl|rev|hon|gen|col"
    "|capt|lt|sgt|gov|sen|vs|cf|al|ca|approx|figs?|eqs?|vols?|nr|tab|abb|bd|hrsg|vgl|tel|inc|ltd"
    r"|corp|dept|ул|им|гг?|стр|рис)\.",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"(?:\w\.)+")  # an initial, U.S., e.g., z.B.
_ORDINAL = re.compile(r"\d{1,2}\.")  # 3. Oktober, or the number of a point in a list


def sentences(text: str) -> list[str]:
    """The sentences of `text` in their order; joined they are `text`.

    Blanks between two sentences belong to the second one, as byte-level tokenizers have it. Text
    that is empty or blank has no sentence.
    """
    cuts = [0]
    for end in _ENDS.finditer(text):
        if end.end() > cuts[-1] and _is_end(text, end, cuts[-1]):
            cuts.append(end.end())
    cuts.append(len(text))
    found: list[str] = []
    for start, stop in pairwise(cuts):
        piece = text[start:stop]
        if piece.strip():
            found.append(piece)
        elif found:
            found[-1] += piece
    return found


def _is_end(text: str, end: re.Match[str], start: int) -> bool:
    """Whether a mark or a line break ends the sentence that began at `start`."""
    if end["sure"]:
        return True
    following = _NEXT.match(text, end.end())
    assert following is not None  # it matches anything
    if following["gap"].count("\n") > 1:  # a blank line, or the end of a paragraph
        return True
    if following["first"].islower():  # a wrapped line, or a mark within a sentence
        return False
    return end["line"] is not None or not _is_abbreviation(text[start : end.end()])


def _is_abbreviation(sentence: str) -> bool:
    """Whether the full stop at the end belongs to the last word, so that the sentence goes on."""
    word = sentence[-_LONGEST_WORD:].split()[-1].lstrip(_OPENING)
    return bool(
        _DOTTED.fullmatch(word) or _ORDINAL.fullmatch(word) or _ABBREVIATIONS.fullmatch(word)
    )
