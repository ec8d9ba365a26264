"""The pages' texts in English and Chinese: chosen, looked up, filled in.

A text is found by its key in locale/en.json and locale/zh.json; {name} in it stands for a value.
A key that ends in `.one` and `.other` has a text for one and for several.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from llmos.hub.errors import HubError

LANGUAGES = {"en": "English", "zh": "中文"}
HTML_CODES = {"en": "en", "zh": "zh-Hans"}


@cache
def catalogue(language: str) -> dict[str, str]:
    """All texts of a language by key."""
    found: dict[str, str] = _read(f"{language}.json")
    return found


@cache
def names() -> dict[str, dict[str, list[str]]]:
    """`languages` and `countries` by their codes: the English and the Chinese name."""
    found: dict[str, dict[str, list[str]]] = _read("names.json")
    return found


@cache
def _errors() -> dict[str, str]:
    """Chinese by what `HubError` says in English, both as templates."""
    found: dict[str, str] = _read("errors.zh.json")
    return found


def _read(name: str) -> Any:
    return json.loads(files("llmos.web").joinpath("locale", name).read_text("utf-8"))


class Texts:
    """The texts of one language; templates call it `t`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.html_code = HTML_CODES[language]

    def __call__(self, key: str, **values: object) -> Markup:
        """The text of a key, with `values` filled in (as text, unless they are markup)."""
        return escape(catalogue(self.language)[key]).format(**values)

    def n(self, key: str, number: int, **values: object) -> Markup:
        """The text for `number` things; {n} in it stands for the number."""
        one = "one" if number == 1 else "other"
        return self(f"{key}.{one}", n=f"{number:,}", **values)

    def known(self, key: str, default: object = "") -> Markup:
        """The text of a key that may not be there, else `default`."""
        return self(key) if key in catalogue(self.language) else escape(default)

    def told(self, error: HubError) -> Markup:
        """What an error says: in this language where its template is known there, else in
        English, marked as such."""
        template = _errors().get(error.template) if self.language == "zh" else None
        if template is None:
            return Markup('<span lang="en">{}</span>').format(error.message)
        return escape(template).format(**error.values)

    def language_name(self, code: str) -> str:
        """The name of a language by its BCP 47 code; the code where it is not known."""
        return self._name("languages", code, code.partition("-")[0].lower())

    def country_name(self, code: str) -> str:
        """The name of a country by its ISO 3166-1 code; the code where it is not known."""
        return self._name("countries", code, code.upper())

    def _name(self, table: str, code: str, key: str) -> str:
        both = names()[table].get(key)
        return both[self.language == "zh"] if both else code


@cache
def texts(language: str) -> Texts:
    """The texts of a language of `LANGUAGES`."""
    return Texts(language)


def choose_language(asked: str | None, cookie: str | None, accepted: str) -> str:
    """The language of an answer: what the address asks for, else what was chosen before, else the
    first that the browser accepts (RFC 9110, 12.5.4) and that there is, else English."""
    for given in (asked, cookie):
        if given in LANGUAGES:
            return str(given)
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, parameter = part.strip().partition(";")
        weight = _weight(parameter)
        if weight > 0:
            wanted.append((-weight, place, tag.strip().lower().partition("-")[0]))
    return next((tag for *_, tag in sorted(wanted) if tag in LANGUAGES), "en")


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
