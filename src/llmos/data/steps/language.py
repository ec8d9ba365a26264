"""Which language a document is in: by its script where that is enough, otherwise by py3langid.

py3langid 0.4 (Barbaresi 2022, after langid.py: Lui and Baldwin 2012, aclanthology.org/P12-3005)
knows 140 languages; its model of 5 MB is in the package. It reads 4 MB/s a core, so it is given
pieces from all over a document. Documents begin with what many languages share (headings, names,
code): of 928 pages in 20 languages their first 512 characters tell 77 %, pieces of them 99.5 %
(`benchmarks/languages.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import prod

from llmos.data.documents import Document
from llmos.data.languages import script_of
from llmos.data.steps.language_codes import UNKNOWN, language_code, language_pair
from llmos.data.steps.step import Drop

NOT_WANTED = "language_not_wanted"
SHORT, LONG = (8, 16), (16, 50)
"""Pieces and characters of each; the long ones are looked at where the short ones leave a doubt."""
SURE = 0.95
"""Probability by which short pieces are enough."""
LIKELY = 0.5
"""Probability below which a language is not named: less likely than all others together."""

# The scripts of which py3langid knows one language, and of which nearly all text is in that one.
_OF_SCRIPT = {
    "Armenian": "hy", "Georgian": "ka", "Gujarati": "gu", "Gurmukhi": "pa", "Hangul": "ko",
    "Kana": "ja", "Kannada": "kn", "Khmer": "km", "Lao": "lo", "Malayalam": "ml", "Myanmar": "my",
    "Odia": "or", "Sinhala": "si", "Tamil": "ta", "Telugu": "te", "Thai": "th",
}  # fmt: skip
_KANA_OR_HANGUL = re.compile("[\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3]")


@dataclass(frozen=True)
class IdentifyLanguage:
    """Name the language of a document that does not say it; drop what is not in one of `languages`.

    `languages` are codes of ISO 639 (none: all are kept; `und`: also text of which the language
    is not certain; `zxx`: also text of no language, such as tables of numbers). What a record says
    is kept and counts, whatever the text looks like; "language_disagrees" counts where the two
    differ. A record of source and target is in two languages, as en-sw, and both must be wanted.
    """

    languages: tuple[str, ...] = ()

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        pair = [document.fields[name] for name in ("source", "target") if name in document.fields]
        texts = pair if len(pair) == 2 else [document.text]
        found = tuple(dict.fromkeys(code for t in texts if (code := identify(t)) != UNKNOWN))
        said = language_pair(document.language) if len(texts) == 2 else _one(document.language)
        if said and found and set(said) != set(found):
            counts["language_disagrees"] += 1
        codes = said or found or (UNKNOWN,)
        if self.languages and not set(codes) <= set(map(language_code, self.languages)):
            return Drop(NOT_WANTED)
        return document if said else replace(document, language="-".join(codes))


def _one(named: str) -> tuple[str, ...]:
    code = language_code(named)
    return (code,) if code else ()


def identify(text: str) -> str:
    """The code of the language of `text` (ISO 639-1 where there is one), or "und"."""
    pieces = _pieces(text, LONG)
    code = "" if pieces.isascii() else _by_script(pieces)
    if code:
        return code
    classify = _classifier()
    code, probability = classify(_pieces(text, SHORT))
    if probability < SURE and len(text) > prod(SHORT):
        code, probability = classify(pieces)
    return language_code(code) if probability >= LIKELY else UNKNOWN


def _pieces(text: str, which: tuple[int, int]) -> str:
    """So many pieces of `text` of a length, evenly spread; all of a text that is no longer."""
    pieces, length = which
    room = len(text) - length
    if len(text) <= pieces * length:
        return text
    starts = (room * number // (pieces - 1) for number in range(pieces))
    return "\n".join([text[start : start + length] for start in starts])


def _by_script(text: str) -> str:
    """The language that the script of a text tells; "" where it tells none."""
    letters = "".join(filter(str.isalpha, text))
    if 2 * len(letters.encode("ascii", "ignore")) >= len(letters):
        return ""  # names of things and quotations, maybe
    script = script_of(letters)
    if script == "Han":
        return "" if _KANA_OR_HANGUL.search(letters) else "zh"
    return _OF_SCRIPT.get(script, "")


@cache
def _classifier() -> Callable[[str], tuple[str, float]]:
    """py3langid's function from a text to a language and its probability; 0.6 s to load."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    classify: Callable[[str], tuple[str, float]] = LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True
    ).classify
    return classify
