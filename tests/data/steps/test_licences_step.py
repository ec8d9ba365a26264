"""The step that keeps documents by their licence."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from llmos.data.documents import Document
from llmos.data.steps.licences import Licences
from llmos.data.steps.step import Drop
from llmos.errors import UsageError


def test_licences_are_written_as_spdx_writes_them() -> None:
    counts: Counter[str] = Counter()
    step = Licences()
    kept = step(Document("a", "text", licence="cc by 4.0"), counts)
    assert isinstance(kept, Document) and kept.licence == "CC-BY-4.0" and kept.text == "text"
    for nothing in ("", "unknown"):
        kept = step(Document("a", "text", licence=nothing), counts)
        assert isinstance(kept, Document) and kept.licence == ""
    assert not counts
    kept = step(Document("a", "text", licence="ask Anna first"), counts)
    assert isinstance(kept, Document) and kept.licence == "LicenseRef-unrecognised"
    assert counts == {"licence_unrecognised": 1}


def test_reasons() -> None:
    step = pickle.loads(pickle.dumps(Licences(("CC-BY-4.0", "MIT", "GPL-3.0-only"), ("MIT",))))
    reasons = {
        "CC-BY-4.0": None,
        "MIT": "licence_denied",
        "": "licence_not_allowed",
        "CC-BY-NC-4.0": "licence_not_allowed",
        "ask Anna first": "licence_unknown",
        "MIT OR GPL-3.0-only": None,
    }
    for licence, reason in reasons.items():
        result = step(Document("a", "text", licence=licence), Counter())
        assert (result.reason if isinstance(result, Drop) else None) == reason, licence


def test_a_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="'nonsense' is not one licence"):
        Licences(allowed=("nonsense",))
