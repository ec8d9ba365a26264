"""Licences, against what the SPDX specification says of expressions and a brute force over them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.errors import UsageError
from llmos.provenance.licences import NONE, UNRECOGNISED, allows, normalise, refusal


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc by 4", "CC-BY-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International License", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/de/", "CC-BY-NC-SA-3.0-DE"),
        ("https://creativecommons.org/licenses/by/3.0/xy/", "CC-BY-3.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/deed.fr", "CC0-1.0"),
        ("apache 2", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("The MIT License", "MIT"),
        ("GPLv3", "GPL-3.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("gpl-2.0 with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("mit or (gpl-3.0 and CC BY 4.0)", "MIT OR (CC-BY-4.0 AND GPL-3.0-only)"),
        ("MIT OR MIT", "MIT"),
        ("odc-by", "ODC-By-1.0"),
        ("LicenseRef-Our-Own", "LicenseRef-Our-Own"),
        ("public domain", "LicenseRef-public-domain"),
    ],
)
def test_what_people_write_becomes_an_spdx_expression(stated: str, meant: str) -> None:
    assert normalise(stated) == meant
    assert normalise(meant) == meant


@pytest.mark.parametrize("stated", ["", "  ", "none", "NONE", "NOASSERTION", "unknown", "n/a"])
def test_no_licence_stated(stated: str) -> None:
    assert normalise(stated) == NONE


@pytest.mark.parametrize(
    "stated",
    [
        *(
            "other",
            "openrail",
            "cc",
            "MIT AND",
            "MIT MIT",
            "MIT WITH MIT",
            "((((",
            "AND",
            "()MIT or x and)",
            "( and .",
        ),
        *("(" * 400, "Once upon a time, and never again", "x" * 600, " OR ".join(["MIT"] * 200)),
    ],
)
def test_what_is_no_licence_is_told_and_not_kept(stated: str) -> None:
    assert normalise(stated) == UNRECOGNISED


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="MITGPL-20.andor() wh+/中", max_size=40))
def test_any_statement_has_a_form_that_stays(stated: str) -> None:
    assert normalise(normalise(stated)) == normalise(stated)


def test_one_licence_of_or_must_do_and_each_of_and() -> None:
    assert allows("MIT OR GPL-3.0-only", ["MIT"])
    assert not allows("MIT AND GPL-3.0-only", ["MIT"])
    assert allows("MIT OR GPL-3.0-only", denied=["GPL-3.0-only"])
    assert refusal("MIT AND GPL-3.0-only", denied=["GPL-3.0-only"]) == "denied"
    assert refusal("CC-BY-NC-4.0", ["CC-BY-4.0"]) == "not_allowed"
    assert refusal("MIT", ["MIT"], ["MIT"]) == "denied"  # denied, allowed or not


def test_entries_are_read_like_statements() -> None:
    assert allows("CC-BY-4.0", ["cc by 4.0"])
    assert not allows("Apache-2.0", denied=["apache 2"])


def test_an_exception_only_adds_permissions() -> None:
    stated = "GPL-2.0-only WITH Classpath-exception-2.0"
    assert allows(stated, ["GPL-2.0-only"])
    assert allows(stated, [stated])
    assert not allows("GPL-2.0-only", [stated])
    assert refusal(stated, denied=["GPL-2.0-only"]) == "denied"
    assert refusal(stated, denied=[stated]) == "denied"
    assert allows("GPL-2.0-only", denied=[stated])


def test_or_later_stands_for_all_later_versions() -> None:
    assert allows("GPL-2.0-or-later", ["GPL-3.0-only"])
    assert not allows("GPL-3.0-or-later", ["GPL-2.0-only"])
    assert allows("GPL-3.0-only", ["GPL-2.0-or-later"])
    assert not allows("GPL-1.0-only", ["GPL-2.0-or-later"])
    assert not allows("LGPL-3.0-only", ["GPL-2.0-or-later"])
    assert allows("GPL-2.0-or-later", denied=["GPL-2.0-only"])
    assert not allows("GPL-2.0-or-later", denied=["GPL-2.0-only", "GPL-3.0-only"])
    assert not allows("GPL-3.0-only", denied=["GPL-2.0-or-later"])


def test_none_stated_and_not_recognised() -> None:
    assert allows("") and allows("whatever")
    assert refusal("", ["MIT"]) == "not_allowed"
    assert allows("", ["MIT", NONE])
    assert refusal("", denied=[NONE]) == "denied"
    assert refusal("whatever", ["MIT"]) == "unknown"
    # It may be the very licence that is denied, under another name.
    assert refusal("whatever", denied=["CC-BY-NC-4.0"]) == "unknown"
    assert allows("whatever", ["MIT", UNRECOGNISED])
    assert allows("LicenseRef-Ours", ["LicenseRef-Ours"])
    assert refusal("LicenseRef-Theirs", ["LicenseRef-Ours"]) == "not_allowed"


@pytest.mark.parametrize("entry", ["MIT OR ISC", "nonsense", "", "none stated"])
def test_an_entry_that_is_no_licence_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="is not one licence"):
        allows("MIT", [entry])


NAMES = ("MIT", "ISC", "Zlib")
expressions = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(inner, st.sampled_from(("AND", "OR")), inner),
    max_leaves=6,
)


def _text(expression: object) -> str:
    if isinstance(expression, str):
        return expression
    left, operator, right = expression  # type: ignore[misc]
    return f"({_text(left)} {operator} {_text(right)})"


def _holds(expression: object, accepted: set[str]) -> bool:
    if isinstance(expression, str):
        return expression in accepted
    left, operator, right = expression  # type: ignore[misc]
    both = (_holds(left, accepted), _holds(right, accepted))
    return all(both) if operator == "AND" else any(both)


@settings(max_examples=40, deadline=None)
@given(expressions)
def test_expressions_are_boolean_functions(expression: object) -> None:
    for size in range(1, 4):
        for chosen in map(set, itertools.combinations(NAMES, size)):
            others = set(NAMES) - chosen
            assert allows(_text(expression), chosen) == _holds(expression, chosen)
            assert allows(_text(expression), denied=others) == _holds(expression, chosen)
