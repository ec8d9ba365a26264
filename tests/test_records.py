"""Canonical JSON as RFC 8785 has it, and logs that outlive a torn line."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.errors import ProtocolError, StorageError
from llmos.records import append_jsonl, canonical_json, read_jsonl

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("aé😀\uff0f", max_size=3), inner),
    max_leaves=8,
)


@given(values)
def test_canonical_json_is_json_of_the_same_meaning(value: Any) -> None:
    # Numbers are doubles (RFC 8785, 3.2.2.3), and large whole ones are written like integers.
    assert json.loads(canonical_json(value), parse_int=float) == value


@given(st.dictionaries(st.text("aé😀\uff0fb", max_size=3), st.integers(0, 9)), st.data())
def test_the_order_of_keys_does_not_matter(value: dict[str, int], data: st.DataObject) -> None:
    items = data.draw(st.permutations(list(value.items())))
    assert canonical_json(dict(items)) == canonical_json(value)


def test_the_examples_of_the_standard() -> None:
    # RFC 8785, section 3.2.2 to 3.2.4
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert (
        canonical_json(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )
    # Section 3.2.3: keys in the order of their UTF-16 code units
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = list(json.loads(canonical_json(dict.fromkeys(keys, 0))))
    assert ordered == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), 2**53 + 1, {1: 2}, {"a": object()}, "\ud83d", b"x"],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be written as canonical JSON"):
        canonical_json(value)


# Logs


@settings(max_examples=30)
@given(records=st.lists(st.dictionaries(st.text("aé\n\u2028", max_size=3), values), max_size=5))
def test_records_come_back_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "new/log.jsonl"
    assert list(read_jsonl(path)) == []
    for record in records:
        append_jsonl(path, record)
    assert list(read_jsonl(path)) == records
    if records:
        assert path.read_bytes().count(b"\n") == len(records)  # a record is a line


@pytest.mark.parametrize("durable", [True, False])
def test_a_torn_last_line_is_left_out_and_spoils_nothing(tmp_path: Path, durable: bool) -> None:
    whole = tmp_path / "whole.jsonl"
    for number in range(2):
        append_jsonl(whole, {"n": number, "text": "各方"})
    data = whole.read_bytes()
    second = data.index(b"\n") + 1
    for length in range(len(data) + 1):
        path = tmp_path / f"{length}.jsonl"
        path.write_bytes(data[:length])
        kept = data[:length].count(b"\n")
        assert [record["n"] for record in read_jsonl(path)] == list(range(kept))
        append_jsonl(path, {"n": 9}, durable=durable)
        found = [record["n"] for record in read_jsonl(path)]
        # Where only the newline was missing, the record turns out to be whole.
        lost = 1 if length not in (second - 1, len(data) - 1) else 0
        assert found == [*range(kept + 1 - lost), 9], length


def test_a_full_disk_is_one_line_and_the_log_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_jsonl(path, {"n": 0})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StorageError, match=f"no space left while writing {path}"):
            append_jsonl(path, {"n": 1, "text": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append_jsonl(path, {"n": 2})
    assert [record["n"] for record in read_jsonl(path)] == [0, 2]
