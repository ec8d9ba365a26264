"""Licences as SPDX expressions: read, and held against what is allowed.

Expressions are those of SPDX 2.3, annex D; they are parsed by the library license-expression, which
carries the SPDX list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from llmos.errors import UsageError

NONE = "NONE"
"""No licence is stated (SPDX 2.3, 7.13)."""
UNRECOGNISED = "LicenseRef-unrecognised"
"""A licence is stated that is no SPDX expression. What was stated is not kept: it may be any text,
and licences are listed on the data card."""
LONGEST = 500
"""Characters of a statement; a longer one is the text of a licence, or hostile."""

_NOT_STATED = {"", "-", "n/a", "none", "noassertion", "null", "unknown"}
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+", re.IGNORECASE)
_OPERATORS = re.compile(r"(\(|\)|\b(?:AND|OR|WITH)\b)", re.IGNORECASE)
_CREATIVE_COMMONS = re.compile(
    r"https?://creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/(\d\.\d)(?:/([a-z]{2,3})\b)?"
)
_WORDS = (
    (r"creative commons", "cc"), (r"attribution", "by"), (r"share[ -]?alike", "sa"),
    (r"non[ -]?commercial", "nc"), (r"no[ -]?deriv(?:ative)?s?", "nd"),
    (r"\b(?:the|licen[cs]e|version|international|unported|generic|universal)\b", " "),
    (r"\bv(?=\d)", ""), (r"(?<=gpl)v?(?=\d)", "-"), (r"[\s_,-]+", "-"),
)  # fmt: skip
_ALIASES = {
    # Names of the Hugging Face hub (its documentation, "Licenses") that are no SPDX identifiers.
    "afl": "AFL-3.0", "agpl": "AGPL-3.0-or-later", "bsd": "BSD-3-Clause", "c-uda": "C-UDA-1.0",
    "gfdl": "GFDL-1.3-or-later", "lgpl": "LGPL-2.0-or-later", "lgpl-lr": "LGPLLR",
    "odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0", "pddl": "PDDL-1.0",
    # What people write.
    "apache": "Apache-2.0", "apache2": "Apache-2.0", "asl-2.0": "Apache-2.0", "cc0": "CC0-1.0",
    "cc-0": "CC0-1.0", "cc-zero": "CC0-1.0", "cc-zero-1.0": "CC0-1.0", "etalab": "etalab-2.0",
    "licence-ouverte-2.0": "etalab-2.0", "ogl": "OGL-UK-3.0", "ogl-uk": "OGL-UK-3.0",
    "pdm": "CC-PDM-1.0", "pdm-1.0": "CC-PDM-1.0", "public-domain": "LicenseRef-public-domain",
}  # fmt: skip


def normalise(stated: str) -> str:
    """The SPDX expression that `stated` means.

    It may be an expression, an identifier of the Hugging Face hub, the address of a Creative
    Commons licence, or a usual name ("CC BY 4.0", "apache 2"). `NONE` where nothing is stated,
    `UNRECOGNISED` where it cannot be told what.
    """
    if stated.strip().casefold() in _NOT_STATED:
        return NONE
    parsed = parse(stated.strip())
    return UNRECOGNISED if parsed is None else str(parsed)


def refusal(stated: str, allowed: Collection[str] = (), denied: Collection[str] = ()) -> str:
    """Why a text of this licence is not taken: "denied", "not_allowed", "unknown"; else "".

    Of licences joined by OR one must do, joined by AND each. X WITH an exception does where X does:
    an exception only adds permissions. "Or later" stands for all versions from that one on that
    SPDX lists, on both sides. Where nothing is in `allowed`, all is that is not denied. `NONE`
    stands for no licence stated. A statement that was not recognised is "unknown" as soon as there
    is a rule to hold it against.
    Raises `UsageError` for an entry that is no licence.
    """
    return _refusal(stated, policy(allowed), policy(denied))


def allows(stated: str, allowed: Collection[str] = (), denied: Collection[str] = ()) -> bool:
    """Whether a text of this licence is taken (see `refusal`)."""
    return not refusal(stated, allowed, denied)


@lru_cache(maxsize=64)
def _policy(entries: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        licence = normalise(entry)
        if licence == NONE and entry.strip() != NONE:
            licence = UNRECOGNISED
        if " AND " in licence or " OR " in licence or licence == UNRECOGNISED != entry:
            raise UsageError(
                f"{entry[:60]!r} is not one licence: write an SPDX identifier such as CC-BY-4.0 "
                f"(spdx.org/licenses), LicenseRef-NAME for your own, or {NONE} for none stated"
            )
        found |= {licence, *_later(licence)}
    return frozenset(found)


def policy(entries: Iterable[str]) -> frozenset[str]:
    """The licences named by a recipe, "or later" spelled out. Raises `UsageError` (`refusal`)."""
    return _policy(tuple(entries))


@lru_cache(maxsize=4096)
def _refusal(stated: str, allowed: frozenset[str], denied: frozenset[str]) -> str:
    def of_choices(licences: Sequence[str]) -> str:
        left = [licence for licence in licences if licence not in denied]
        if not left:
            return "denied"
        if allowed.intersection(left):
            return ""
        if UNRECOGNISED in left and (allowed or denied):
            return "unknown"
        return "not_allowed" if allowed else ""

    def of_symbol(symbol: Any) -> str:
        base = getattr(symbol, "license_symbol", symbol).key
        found = of_choices(_later(base) or (base,))
        if str(symbol) in denied:
            return "denied"
        return "" if found == "not_allowed" and str(symbol) in allowed else found

    def every(found: list[str]) -> str:
        return max(found, key=("", "unknown", "not_allowed", "denied").index)

    def some(found: list[str]) -> str:
        return "" if "" in found else every(found)

    licence = normalise(stated)
    if licence in (NONE, UNRECOGNISED):
        return of_choices([licence])
    return fold(parse(licence), of_symbol, every=every, some=some)


@lru_cache(maxsize=1)
def _spdx() -> Any:
    from license_expression import get_spdx_licensing  # type: ignore[import-untyped]

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def parse(text: str) -> Any:
    """The expression as license-expression holds it, simplified; None where it is none."""
    from license_expression import ExpressionError

    if len(text) > LONGEST:
        return None
    operands = _OPERATORS.split(text)
    usual = "".join(
        part if number % 2 else f" {_usual(part)} " for number, part in enumerate(operands)
    )
    for attempt in (text, usual):
        try:
            parsed = _spdx().parse(attempt, strict=True)
        except (ExpressionError, AssertionError, IndexError, RecursionError):
            continue  # the library raises any of these for what is no expression
        unknown = _spdx().unknown_license_symbols(parsed)
        if parsed is not None and all(_REFERENCE.fullmatch(symbol.key) for symbol in unknown):
            return parsed.simplify()
    return None


def _usual(name: str) -> str:
    """What is meant by a name as people write it, or the name."""
    address = _CREATIVE_COMMONS.match(name.strip().lower())
    if address:
        kind, version, port = address.groups()
        if kind in ("zero", "mark"):
            return "CC0-1.0" if kind == "zero" else "CC-PDM-1.0"
        ported = f"CC-{kind}-{version}-{port}"
        return ported if port and ported.lower() in _keys() else f"CC-{kind}-{version}"
    found = name.strip().lower()
    for pattern, replacement in _WORDS:
        found = re.sub(pattern, replacement, found)
    found = found.strip("-")
    for candidate in (found, f"{found}.0"):
        if candidate in _ALIASES:
            return _ALIASES[candidate]
        if candidate in _keys():
            return candidate
    return name


@lru_cache(maxsize=1)
def _keys() -> frozenset[str]:
    symbols = _spdx().known_symbols
    names = {alias for symbol in symbols.values() for alias in symbol.aliases}
    return frozenset(name.lower() for name in {*symbols, *names})


@lru_cache(maxsize=256)
def _later(licence: str) -> tuple[str, ...]:
    """The licences among which "or later" lets choose, such as GPL-2.0-only and GPL-3.0-only."""
    family, later, _ = licence.partition("-or-later")
    name = re.fullmatch(r"([A-Z]+)-([\d.]+)((?:-.+)?)", family)
    if not later or name is None:
        return ()
    pattern = re.compile(rf"{name[1]}-([\d.]+){re.escape(name[3])}-only")
    found = (pattern.fullmatch(key) for key in _spdx().known_symbols)
    least = float(name[2])
    return tuple(sorted(match[0] for match in found if match and float(match[1]) >= least))


T = TypeVar("T")


def fold(
    expression: Any,
    of_symbol: Callable[[Any], T],
    *,
    every: Callable[[list[T]], T],
    some: Callable[[list[T]], T],
) -> T:
    """The value of an expression from those of its licences."""
    if expression.isliteral:
        return of_symbol(expression)
    values = [fold(part, of_symbol, every=every, some=some) for part in expression.args]
    return every(values) if expression.operator.strip() == "AND" else some(values)


def all_licences(stated: Iterable[str]) -> str:
    """One SPDX expression for texts under several; "" among them stands for none stated."""
    licences = sorted({*stated} - {""})
    return " AND ".join(f"({x})" if len(licences) > 1 and " OR " in x else x for x in licences)
