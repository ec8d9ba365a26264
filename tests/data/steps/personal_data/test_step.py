"""The step: masks, drops or counts, in texts and in all fields of records."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.documents import Document
from llmos.data.records import RECORDS
from llmos.data.rows import Row
from llmos.data.steps.personal_data.step import PersonalData
from llmos.data.steps.step import Drop
from llmos.errors import UsageError
from llmos.recipe import DataSection

MAIL, PHONE = "jane@example.org", "202-555-0143"


def run(document: Document, step: PersonalData | None = None) -> tuple[Document, Counter[str]]:
    counts: Counter[str] = Counter()
    result = (step or PersonalData())(document, counts)
    assert isinstance(result, Document)
    return result, counts


def record(kind: str, **values: object) -> Document:
    return RECORDS[kind](Row(Path("a"), "line 1", "1", dict(values)), DataSection())


def test_a_text_is_masked_by_kind() -> None:
    before = Document("1", f"Ask {MAIL} or {PHONE}, not {MAIL}.", language="en", source="s")
    after, counts = run(before)
    assert after == Document("1", "Ask <EMAIL> or <PHONE>, not <EMAIL>.", language="en", source="s")
    assert counts == {"personal_email": 2, "personal_phone": 1}


def test_a_text_without_any_comes_back_as_it_is() -> None:
    document = Document("1", "Nothing here.")
    after, counts = run(document)
    assert after is document
    assert not counts


def test_only_some_kinds() -> None:
    after, counts = run(Document("1", f"{MAIL} {PHONE}"), PersonalData(kinds=("phone",)))
    assert after.text == f"{MAIL} <PHONE>"
    assert counts == {"personal_phone": 1}


def test_drop_and_keep_count_alike() -> None:
    document = Document("1", f"{MAIL} {PHONE}")
    dropped: Counter[str] = Counter()
    assert PersonalData(action="drop")(document, dropped) == Drop("personal_data")
    kept, counts = run(document, PersonalData(action="keep"))
    assert kept is document
    assert counts == dropped == {"personal_email": 1, "personal_phone": 1}
    clean = Document("2", "Nothing here.")
    assert PersonalData(action="drop")(clean, dropped) is clean


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            record("pair", source=f"Mail {MAIL}", target=f"Écrivez à {MAIL}"),
            record("pair", source="Mail <EMAIL>", target="Écrivez à <EMAIL>"),
        ),
        (
            record("labelled", text=f"Mail {MAIL}", label="good"),
            record("labelled", text="Mail <EMAIL>", label="good"),
        ),
        (
            record(
                "chat",
                messages=[
                    {"role": "user", "content": f"é {MAIL}\nPhone:"},
                    {"role": "assistant", "content": "467 3395"},
                ],
            ),
            record(
                "chat",
                messages=[
                    {"role": "user", "content": "é <EMAIL>\nPhone:"},
                    {"role": "assistant", "content": "467 3395"},
                ],
            ),
        ),
        (
            record("question", context=f"{MAIL} is in Paris", question=f"{PHONE}?", answer="Paris"),
            record("question", context="<EMAIL> is in Paris", question="<PHONE>?", answer="Paris"),
        ),
    ],
)
def test_a_record_is_what_its_masked_parts_make(before: Document, after: Document) -> None:
    assert run(before)[0] == after
    dropped = PersonalData(action="drop")(before, Counter())
    assert dropped == Drop("personal_data")


def test_a_records_personal_data_count_once() -> None:
    before = record("pair", source=f"Mail {MAIL}", target=f"{PHONE} {MAIL}")
    expected = {"personal_email": 2, "personal_phone": 1}
    assert run(before)[1] == run(before, PersonalData(action="keep"))[1] == expected


def test_a_question_keeps_its_answer_where_it_is() -> None:
    before = record(
        "question", context=f"{MAIL} or {PHONE}: Jane, {PHONE}", question="Who?", answer="Jane"
    )
    fields = run(before)[0].fields
    assert fields["context"] == "<EMAIL> or <PHONE>: Jane, <PHONE>"
    assert fields["context"].startswith("Jane", int(fields["start"]))


@pytest.mark.parametrize("answer", [MAIL, "jane", "to jane@example.org now"])
def test_a_question_for_personal_data_is_dropped(answer: str) -> None:
    before = record("question", context=f"Write to {MAIL} now", question="Whom?", answer=answer)
    counts: Counter[str] = Counter()
    assert PersonalData()(before, counts) == Drop("personal_data_in_answer")
    assert not counts


def test_messages_stay_json_in_their_own_script() -> None:
    messages = [{"role": "user", "content": f"你好 {MAIL}"}, {"role": "assistant", "content": "好"}]
    after = run(record("chat", messages=messages))[0].fields["messages"]
    assert "你好 <EMAIL>" in after
    assert [message["role"] for message in json.loads(after)] == ["user", "assistant"]


PIECES = [
    *(MAIL, PHONE, "4111 1111 1111 1111", "GB29 NWBK 6016 1331 9268 19", "219-09-9999"),
    *("86095742719", "93.184.216.34", "2341 2341 2346", "555 0143", "+1", "0", "12", "3456"),
    *("Phone:", "call", "x12", "card", "NHS", "fax", "<PHONE>", "<EMAIL>", "é", "你", "٣", "–"),
    *"  -.,\n()@/<>",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    once, _ = run(Document("1", text))
    twice, counts = run(once)
    assert twice is once
    assert not counts


def test_what_a_mask_uncovers_is_masked_too() -> None:
    after, counts = run(Document("1", "219-09-9999 2341 2341 2346"))
    assert after.text == "<NATIONAL_ID> <NATIONAL_ID>"
    assert counts == {"personal_national_id": 2}


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="'shoe_size'; one of"):
        PersonalData(kinds=("shoe_size",))
    with pytest.raises(UsageError, match="'hide'; one of"):
        PersonalData(action="hide")


def test_the_step_travels_to_other_processes() -> None:
    step = PersonalData(kinds=("iban",), action="drop")
    assert pickle.loads(pickle.dumps(step)) == step
