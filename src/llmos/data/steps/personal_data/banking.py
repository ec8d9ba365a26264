"""IBANs (ISO 13616) and payment cards (ISO/IEC 7812)."""

from __future__ import annotations

import re

from llmos.data.steps.personal_data.checksums import luhn
from llmos.data.steps.personal_data.patterns import (
    Bounds,
    Finders,
    Pattern,
    compact,
    said_before,
)
from llmos.data.steps.personal_data.view import View

# Length by country, from the IBAN registry of SWIFT (release 99).
_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}

# Issuers' ranges: the first digits, and the lengths that go with them (the card networks' public
# lists of issuer identification numbers). Of Maestro only its own ranges, for its many lengths.
_ISSUERS = tuple(
    (re.compile(prefix), lengths)
    for prefix, lengths in (
        (r"4", {13, 16, 19}),  # Visa
        (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", {16}),  # Mastercard
        (r"3[47]", {15}),  # American Express
        (r"30[0-5]|3095|36|3[89]", {14, 16, 17, 18, 19}),  # Diners Club
        (r"6011|64[4-9]|65", {16, 17, 18, 19}),  # Discover
        (r"62|81", {16, 17, 18, 19}),  # UnionPay
        (r"35(?:2[89]|[3-8])", {16, 17, 18, 19}),  # JCB
        (r"2131|1800", {15}),  # JCB, older cards
        (r"220[0-4]", {16, 17, 18, 19}),  # Mir
        (r"60|82|508", {16}),  # RuPay
        (r"5018|50[23][08]|5893|6304|67(?:59|6[1-3])", {12, 13, 14, 15, 16, 17, 18, 19}),  # Maestro
    )
)
_CARD_WORDS = re.compile(
    r"(?:\b(?:cards?|cc|carte|karten?|kreditkarten?|tarjeta|carta|cartão|карт[аыу])\b|卡号|信用卡|银行卡|カード)"
    r"[^\n\d]{0,24}$"
)


def is_iban(characters: str) -> bool:
    """ISO 13616-1: the country's length, and ISO/IEC 7064 MOD 97-10 over all of it."""
    characters = characters.upper()
    if _LENGTHS.get(characters[:2]) != len(characters):
        return False
    return int("".join(str(int(c, 36)) for c in characters[4:] + characters[:4])) % 97 == 1


def is_card(digits: str) -> bool:
    """A card network's range and length, and the Luhn digit."""
    return luhn(digits) and any(
        len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS
    )


def _iban(view: View, match: re.Match[str]) -> Bounds | None:
    """As much of the match as the country's IBAN is long."""
    start = match.start() - 2
    length = _LENGTHS.get(view.plain[start : start + 2].upper(), 0)
    end = start
    while length and end < match.end():
        length -= view.plain[end].isalnum()
        end += 1
    if length or view.plain[end : end + 1].isalnum():
        return None
    return (start, end) if is_iban(compact(view.plain[start:end])) else None


def _card(view: View, match: re.Match[str]) -> Bounds | None:
    """With a Luhn digit, and of a network's range unless it is said to be a card."""
    start, end = match.span()
    digits = compact(view.plain[start:end])
    named = len(set(digits)) > 1 and luhn(digits) and said_before(view, start, _CARD_WORDS)
    return match.span() if named or is_card(digits) else None


# From the two check digits on, as letters would stop the search at every word.
_IBAN = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)(?<!\w[A-Za-z]{2}\d\d)(?:[ \-]?[0-9A-Za-z]){11,30}+")
_BARE = r"9(?<![9Aa+]9)(?<!9[.,/\-]9)9{11,18}+(?![9Aa])(?![.,/\-]9)"
_GROUPED = (
    r"9999(?<![9Aa+]9999)(?<!9[ .,/\-]9999)(?P<by>[ \-])(?:"
    r"9999(?P=by)9999(?P=by)(?:9999(?:(?P=by)999)?|9{1,3})|999999(?P=by)9999(?:9)?)"
    r"(?![9Aa])(?![ \-]9999)"
)

IBAN: Finders = {"numbers": (Pattern(_IBAN, _iban, shapes=("AA99", "aa99")),)}
CREDIT_CARD: Finders = {
    "numbers": (
        Pattern(re.compile(_BARE), _card, shapes=("9" * 12,), shaped=True),
        Pattern(
            re.compile(_GROUPED),
            _card,
            shapes=("9999 9999 9999", "9999-9999-9999", "9999 999999 9999", "9999-999999-9999"),
            shaped=True,
        ),
    )
}
