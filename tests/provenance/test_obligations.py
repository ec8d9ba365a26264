"""What licences ask for, against the features that Creative Commons itself names in their names."""

from __future__ import annotations

import pytest

from llmos.provenance.licences import normalise
from llmos.provenance.obligations import (
    HUB_LICENCES,
    Obligations,
    hub_name,
    may_redistribute,
    obligations,
)


@pytest.mark.parametrize(
    ("licence", "asked"),
    [
        ("CC0-1.0", ""),
        ("CC-BY-4.0", "attribution"),
        ("CC-BY-SA-3.0-IGO", "attribution share_alike"),
        ("CC-BY-NC-SA-2.0-FR", "attribution share_alike non_commercial"),
        ("CC-BY-ND-4.0", "attribution no_derivatives"),
        ("CC-BY-NC-ND-3.0", "attribution non_commercial no_derivatives"),
        ("MIT", "attribution"),
        ("BSD-3-Clause", "attribution"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "attribution share_alike"),
        ("AGPL-3.0-only", "attribution share_alike"),
        ("ODbL-1.0", "attribution share_alike"),
        ("etalab-2.0", "attribution"),
        ("OGL-UK-3.0", "attribution"),
        ("CC-BY-4.0 AND CC-BY-NC-4.0", "attribution non_commercial"),
        ("CC-BY-NC-4.0 OR GPL-3.0-only", "attribution share_alike"),  # what hinders least
        ("LicenseRef-Ours OR MIT", "attribution"),
    ],
)
def test_obligations(licence: str, asked: str) -> None:
    assert obligations(licence) == Obligations(**dict.fromkeys(asked.split(), True))


@pytest.mark.parametrize("licence", ["", "whatever", "LicenseRef-Ours", "MIT AND LicenseRef-Ours"])
def test_what_is_not_known_is_said_to_be(licence: str) -> None:
    assert obligations(licence) is None
    assert not may_redistribute(licence)


def test_what_may_be_passed_on_in_a_changed_form() -> None:
    assert may_redistribute("CC-BY-NC-4.0")
    assert not may_redistribute("CC-BY-ND-4.0")
    assert not may_redistribute("MIT AND CC-BY-ND-4.0")
    assert may_redistribute("MIT OR CC-BY-ND-4.0")


def test_names_of_the_hub() -> None:
    assert hub_name("CC BY-SA 4.0") == "cc-by-sa-4.0"
    assert hub_name("GPL-3.0-or-later") == "gpl-3.0"
    assert hub_name("ODbL-1.0") == "odbl"
    assert hub_name("") == "unknown"
    assert hub_name("MIT OR ISC") == hub_name("CC-BY-3.0-DE") == hub_name("whatever") == "other"
    for name in HUB_LICENCES:  # there and back
        assert hub_name(normalise(name)) == name
