"""Items that stand in the training text are found; cards are believed by hash."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llmos.data.preparation.places import DOCUMENTS
from llmos.data.preparation.settings import Settings
from llmos.errors import UsageError
from llmos.evaluation.contamination import contamination, item_runs
from llmos.evaluation.items import Item
from llmos.evaluation.suites import suite

LONG = "The old bridge over the river was built by three brothers from the northern valley in 1803."
CHINESE = (
    "这座古老的桥是由来自北方山谷的三兄弟在很久以前一起建造的，至今仍然横跨在宽阔的河流之上，"
    "供人们通行。"
)


def prepared(folder: Path, texts: list[str], cleaned: list[str] | None = None) -> Path:
    (folder / DOCUMENTS).mkdir(parents=True)
    lines = "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    (folder / DOCUMENTS / "00000.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    sets = [{"name": "x", "sha256": sha256, "documents": 0} for sha256 in cleaned or []]
    (folder / "card.json").write_text(json.dumps({"contamination": sets}))
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Any:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    texts = [LONG, "Who built it for the king?", CHINESE, "Two words", LONG.replace("old", "new")]
    (folder / "q.jsonl").write_text(
        "".join(json.dumps({"q": text, "a": "yes"}) + "\n" for text in texts)
    )
    return suite(
        {
            "name": "s",
            "benchmarks": [
                {
                    "name": "q",
                    "task": "completion",
                    "data": {"path": "set/q.jsonl", "format": "jsonl"},
                    "inputs": {"prompt": "{q}"},
                    "references": "{a}",
                    "metrics": ["accuracy"],
                }
            ],
        }
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nothing of the kind stands here, whatever one may look for in it, or not at all.", 0),
        ("He read: the OLD bridge, over the river, was built by three brothers from the north.", 1),
        (f"{LONG} {LONG}", 2),  # the new bridge shares 13 words behind "new"
        ("And who built it, for the King? Nobody knows.", 1),
        (f"听说{CHINESE}", 1),
        ("Two words", 0),
    ],
)
def test_shared_runs_of_words_are_found(
    questions: Any, tmp_path: Path, text: str, found: int
) -> None:
    folder = prepared(tmp_path / "text", ["Something else.", text])
    part = contamination(questions, tmp_path / "data", [folder])["benchmarks"]["q"]
    assert part == {"items": 5, "found": found, "too_short": 1, "cleaned_of": False}


def test_short_items_are_looked_up_as_a_whole() -> None:
    assert item_runs(Item({"q": LONG}))[0] == 13
    assert item_runs(Item({"q": "Who built it for the king?"}))[0] == 6
    assert len(item_runs(Item({"q": "Two words"}))[1]) == 0


@pytest.mark.parametrize("named", ["set/q.jsonl", "set"])
def test_a_card_tells_what_its_text_was_cleaned_of(
    questions: Any, tmp_path: Path, named: str
) -> None:
    data = tmp_path / "data"
    path = str(data / named)
    (sha256,) = Settings(sources=(), decontaminate=(path,)).hashes().values()
    clean = prepared(tmp_path / "clean", ["text"], [sha256]) / "card.json"
    other = prepared(tmp_path / "other", ["text"]) / "card.json"
    assert contamination(questions, data, [clean])["benchmarks"]["q"] == {"cleaned_of": True}
    # What one member left in is in the model.
    found = contamination(questions, data, [clean, other])
    assert found["benchmarks"]["q"] == {"cleaned_of": False}


def test_what_is_no_card(questions: Any, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(UsageError, match="is no data card"):
        contamination(questions, tmp_path / "data", [tmp_path / "card.json"])
