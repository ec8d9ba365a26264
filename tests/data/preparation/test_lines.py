"""A document as a line: what the recipe's reader makes of it is the document again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos.data.documents import Document
from llmos.data.preparation.lines import pack_document, to_line, unpack_document
from llmos.data.records import RECORDS
from llmos.data.rows import json_lines
from llmos.recipe import DataSection

NAMES = DataSection(text_field="body", source_field="en", target_field="zh", label_field="mood")
RECORDS_OF_ALL_KINDS: dict[str, dict[str, Any]] = {
    "text": {"body": "A text\nof two lines: ü 中文 \u2028."},
    "pair": {"en": "the house", "zh": "房子"},
    "labelled": {"body": "what a day", "mood": "glad"},
    "chat": {
        "messages": [
            {"role": "user", "content": "Who is there?"},
            {"role": "assistant", "content": "Nobody."},
        ]
    },
    "question": {
        "context": "Anna lives in Bern.",
        "question": "Where?",
        "answers": [{"text": "Bern", "answer_start": 14}],
    },
}


@pytest.mark.parametrize("record", RECORDS_OF_ALL_KINDS)
def test_a_line_is_read_as_the_document_that_it_was_made_of(record: str) -> None:
    def read(line: str) -> Document:
        (row,) = json_lines(line, Path("file.jsonl"), "file.jsonl")
        return RECORDS[record](row, NAMES)

    told = {"language": "en", "licence": "MIT", "url": "https://example.org/a"}
    document = replace(read(json.dumps(RECORDS_OF_ALL_KINDS[record] | told)), source="here")
    line = to_line(document, NAMES)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line)["source_name"] == "here" and json.loads(line)["id"] == document.id
    assert replace(read(line.decode()), source="here") == document
    assert unpack_document(pack_document(document)) == document
