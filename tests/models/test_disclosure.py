"""What leaves home: threshold, report, and counts from members that are not trusted."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import ProtocolError, UsageError
from llmos.models import disclosure
from llmos.models.disclosure import (
    DEFAULT_THRESHOLD,
    MAXIMUM_COUNT,
    add_counts,
    counts_from_bytes,
    counts_to_bytes,
    disclose,
    disclosure_report,
)
from llmos.models.pieces import PART, UNSPACED, count_pieces

# Every clause five times, so that nothing but the cut keeps it at home.
CLAUSES = ["患者王小明于三月入院治疗", "担当医の山田太郎が診察した", "นายสมชายใจดีเข้ารับการรักษา"]
LETTERS = ["The patient came. ", "Der Befund ist gut. "]


def wire(pieces: object, version: object = 1) -> bytes:
    return json.dumps(
        {"pieces": pieces, "version": version}, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "surrogatepass")


def test_a_secret_that_occurs_four_times_stays_at_home() -> None:
    counts = count_pieces(LETTERS * 20 + ["The password is Xylophonquark. "] * 4)
    assert counts[" Xylophonquark"] == 4
    sent = counts_to_bytes(disclose(counts))
    assert b"Xylophon" not in sent
    assert b"password" not in sent
    assert b" patient" in sent
    assert b" Xylophonquark" in counts_to_bytes(disclose(counts, 4))


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_clause_never_leaves_whole_however_often_it_occurs(clause: str) -> None:
    sent = disclose(count_pieces([f"{clause}。\n"] * 50))
    unspaced = [piece for piece in sent if any(a <= ord(piece[0]) <= b for a, b in UNSPACED)]
    assert max(map(len, unspaced)) == PART
    assert set(clause) <= sent.keys()


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 20)), st.integers(0, 12))
def test_disclosed_are_exactly_the_counts_at_or_over_the_threshold(
    counts: dict[str, int], threshold: int
) -> None:
    sent = disclose(counts, threshold)
    assert sent == {piece: count for piece, count in counts.items() if count >= threshold}
    assert list(sent) == sorted(sent)


def test_the_threshold_is_five_unless_said_otherwise_and_never_negative() -> None:
    assert disclose({"a": 4, "b": 5}) == {"b": 5}
    with pytest.raises(UsageError, match="threshold -1"):
        disclose({}, -1)


def test_the_report_counts_what_left_what_is_long_and_what_stayed() -> None:
    counts = {" Ärztinnen": 6, "Übergänge": 4, "ab": 10, "中文中文": 5, "कखगघङचछज": 5, "x": 1}
    report = disclosure_report(counts)
    assert (report.pieces, report.withheld_pieces) == (4, 2)
    assert report.long_pieces == 2  # by characters; by bytes 中文中文 would be a third
    assert report.withheld_share == pytest.approx(5 / 31)
    assert disclosure_report(counts, minimum=4).long_pieces == 3
    assert "4 pieces left home, 2 of them with 8 or more characters; 2 pieces (16.13%" in str(
        report
    )
    assert report.to_json() == asdict(report)
    assert disclosure_report({}).withheld_share == 0.0
    assert disclosure_report(counts, 0).withheld_pieces == 0


def test_the_sum_is_the_same_in_any_order_of_members() -> None:
    members = [{"a": 1, "b": 2}, {"b": 5}, {"c": MAXIMUM_COUNT, "a": 1}]
    total = add_counts(members)
    assert total == {"a": 2, "b": 7, "c": MAXIMUM_COUNT}
    assert list(total.items()) == list(add_counts(reversed(members)).items())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_counts_survive_the_wire_and_have_one_form(texts: list[str]) -> None:
    counts = count_pieces(texts)
    data = counts_to_bytes(counts)
    assert counts_from_bytes(data) == counts
    assert counts_to_bytes(dict(reversed(counts.items()))) == data


def test_the_wire_form_is_fixed() -> None:
    assert counts_to_bytes({"é": 5, " a": 7}) == '{"pieces":{" a":7,"é":5},"version":1}'.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"pieces":{"a":' + b"9" * 10_000 + b'},"version":1}', "not JSON"),
        (b"[]", "not an object of pieces"),
        (b'{"pieces":{}}', "not an object of pieces"),
        (b'{"pieces":{},"version":1,"x":0}', "not an object of pieces"),
        (wire({}, 2), "version 2 is not 1"),
        (wire({}, True), "canonical"),
        (wire([["a", 5]]), "pieces are not an object"),
        (wire({"a": 0}), "count 0 of piece 'a'"),
        (wire({"a": -5}), "count -5"),
        (wire({"a": True}), "count True"),
        (wire({"a": 5.0}), "count 5.0"),
        (wire({"a": "5"}), "count 5 of"),
        (wire({"a": None}), "count None"),
        (wire({"a": [5]}), "count"),
        (wire({"a": float("nan")}), "count nan"),
        (wire({"a": MAXIMUM_COUNT + 1}), "count 9007199254740992"),
        (wire({"": 5}), "'' of 0 characters is not one piece"),
        (wire({"z" * 10_000: 5}), "of 10000 characters is not one piece"),
        (wire({"患者王小明": 5}), "is not one piece"),
        (wire({"a whole sentence": 5}), "is not one piece"),
        (wire({"\ud800": 5}), "not JSON"),
        (b'{"pieces":{"\\ud800":5},"version":1}', "lone surrogate"),
        (wire({"b": 5, "a": 5}), "canonical"),
        (b'{"pieces":{"a":5,"a":5},"version":1}', "canonical"),
        (b'{"pieces": {"a":5},"version":1}', "canonical"),
        (b'{"pieces":{"\\u0061":5},"version":1}', "canonical"),
    ],
)
def test_malformed_counts_are_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason) as caught:
        counts_from_bytes(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_member_that_discloses_under_the_agreed_threshold_is_refused() -> None:
    data = counts_to_bytes({"a": 4, "b": 9})
    assert counts_from_bytes(data, threshold=4)
    with pytest.raises(ProtocolError, match="count 4 of piece 'a' is not an integer from 5"):
        counts_from_bytes(data, threshold=DEFAULT_THRESHOLD)


def test_size_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = counts_to_bytes({"a": 5, "b": 5})
    monkeypatch.setattr(disclosure, "MAXIMUM_PIECES", 1)
    with pytest.raises(ProtocolError, match="at most 1"):
        counts_from_bytes(data)
    monkeypatch.setattr(disclosure, "MAXIMUM_BYTES", 10)
    with pytest.raises(ProtocolError, match="bytes are more than 10"):
        counts_from_bytes(data)


@given(st.binary(max_size=60))
def test_random_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        counts_from_bytes(data)
