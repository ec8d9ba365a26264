"""Records of several parts on their way to training: whole, counted, each side apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llmos.data.documents import Document
from llmos.recipe import Recipe
from llmos.training.material import Material


def material(path: Path, records: list[dict[str, Any]], **settings: Any) -> Material:
    path.mkdir(exist_ok=True)
    (path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    values = {"data.validation": 0.2, "data.test": 0.2, "data.part_bytes": 10}
    return Material(path, Recipe(name="t").with_values(values | settings))


def units(found: Material) -> list[Document]:
    return [*found.split.train, *found.split.validation, *found.split.test]


def test_records_stay_whole_and_are_counted(tmp_path: Path) -> None:
    pairs = [{"source": f"sentence {n}", "target": f"{n}号句子"} for n in range(20)]
    spoilt = [{"source": "nothing", "target": " "}, pairs[3]]
    settings = {"model.family": "t5", "objective.name": "seq2seq"}
    found = material(tmp_path, [*pairs, *spoilt], **settings)
    expected = sorted((p["source"], p["target"]) for p in pairs)
    assert sorted((d.fields["source"], d.fields["target"]) for d in units(found)) == expected
    card = found.card
    assert card["documents"] == 21 and card["repeats_dropped"] == 1
    assert card["records_passed_over"] == {"empty target": 1}
    assert sum(card[part]["units"] for part in ("train", "validation", "test")) == 20
    sizes = [len(f"{source}\n{target}".encode()) for source, target in expected]
    assert sum(card[part]["bytes"] for part in ("train", "validation", "test")) == sum(sizes)
    # The card vouches for every part of a record, though the source alone decides its side.
    pairs[5]["target"] = "五号句子"
    other = material(tmp_path, [*pairs, *spoilt], **settings)
    assert other.card["content_sha256"] != card["content_sha256"]
    assert [d.key for d in units(other)] == [d.key for d in units(found)]


def test_a_label_is_a_part_of_what_the_card_vouches_for(tmp_path: Path) -> None:
    records = [{"text": f"text {n}", "label": "good"} for n in range(9)]
    settings = {
        "model.family": "bert",
        "objective.name": "classification",
        "objective.labels": ["good", "bad"],
    }
    before = material(tmp_path, records, **settings).card
    records[4]["label"] = "bad"
    after = material(tmp_path, records, **settings).card
    assert after["content_sha256"] != before["content_sha256"]
    assert after["train"] == before["train"]


def test_questions_on_one_context_stay_on_one_side(tmp_path: Path) -> None:
    records = [
        {"context": f"Context {n} says {n}.", "question": f"Question {q}?", "answer": str(n)}
        for n in range(12)
        for q in range(3)
    ]
    settings = {"model.family": "bert", "objective.name": "extractive_qa"}
    found = material(tmp_path, records, **settings)
    sides = [
        {document.fields["context"] for document in part}
        for part in (found.split.train, found.split.validation, found.split.test)
    ]
    assert sum(map(len, sides)) == 12 and min(map(len, sides)) > 0
    assert found.card["records_passed_over"] == {}


def test_parts_of_a_text_keep_its_language(tmp_path: Path) -> None:
    texts = [{"text": f"Paragraph {n}.\n\nAnother one.", "lang": "en"} for n in range(9)]
    found = material(tmp_path, texts)
    assert len(units(found)) > 9 and {d.language for d in units(found)} == {"en"}
    assert "records_passed_over" not in found.card


def test_a_context_of_many_questions_counts_once(tmp_path: Path) -> None:
    """Else a word that stands in the member's text once would pass the threshold."""
    records = [
        {
            "context": f"The zyzzyva of page {page} slept.",
            "question": f"Question {number} of page {page}?",
            "answers": {"text": ["zyzzyva"], "answer_start": [4]},
        }
        for page in range(6)
        for number in range(9)
    ]
    settings = {"model.family": "bert", "objective.name": "extractive_qa"}
    found = material(tmp_path, records, **settings)
    contexts = {d.fields["context"] for d in found.split.train}
    assert len(found.split.train) > 2 * len(contexts)
    assert found.counts()[" zyzzyva"] == len(contexts)
