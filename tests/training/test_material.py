"""A member's text on its way to training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmos.errors import DataError
from llmos.records import canonical_json
from llmos.storage import sha256_hex
from llmos.training.material import FEWEST_UNITS, Material

if TYPE_CHECKING:
    from tests.conftest import Joint


def test_the_card_says_how_much_there_is_and_nothing_of_it(joint: Joint) -> None:
    material = Material(joint.members["anna"], joint.recipe)
    card = material.card
    assert card["documents"] == 16 and card["languages"] == ["en", "zh"]
    assert card["licence"] == "CC0-1.0" and card["synthetic"] is False
    texts = [p.read_text() for p in joint.members["anna"].glob("*.txt")]
    parts = (material.split.train, material.split.validation, material.split.test)
    assert sorted(d.text for part in parts for d in part) == sorted(texts)
    units = [card[name]["units"] for name in ("train", "validation", "test")]
    assert units == [len(part) for part in parts] and min(units) > 0 and sum(units) == 16
    assert sum(card[n]["bytes"] for n in ("train", "validation", "test")) == sum(
        len(text.encode()) for text in texts
    )
    expected = sorted(sha256_hex(text.encode()) for text in texts)
    assert card["content_sha256"] == sha256_hex("\n".join(expected).encode())
    assert material.card_sha256 == sha256_hex(canonical_json(card))


def test_order_and_names_of_files_change_nothing(joint: Joint, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(joint.members["anna"].glob("*.txt"), reverse=True)):
        (tmp_path / f"{number}.txt").write_bytes(path.read_bytes())
    (tmp_path / "card.json").write_bytes((joint.members["anna"] / "card.json").read_bytes())
    a, b = Material(joint.members["anna"], joint.recipe), Material(tmp_path, joint.recipe)
    assert a.card == b.card and a.counts() == b.counts()
    for held_out in ("validation_documents", "test_documents"):
        first, second = (getattr(material, held_out)() for material in (a, b))
        assert [d.text for d in first] == [d.text for d in second]
        assert len(first) > 0


def test_held_out_text_is_cut_at_the_limits_of_the_recipe(joint: Joint) -> None:
    recipe = joint.recipe.with_values(
        {"evaluation.validation_bytes": 1, "evaluation.test_bytes": 0}
    )
    material = Material(joint.members["anna"], recipe)
    assert len(material.validation_documents()) == 1
    assert len(material.test_documents()) == len(material.split.test) < FEWEST_UNITS
    assert material.test_block_bytes > 0


def test_only_training_text_is_counted(joint: Joint) -> None:
    material = Material(joint.members["anna"], joint.recipe)
    digits = sum(c.isdigit() for d in material.split.train for c in d.text)
    counted = sum(len(p.strip()) * n for p, n in material.counts().items() if p.strip().isdigit())
    assert counted == digits > 0


@pytest.mark.parametrize("content", [b"caf\xe9", b"\xff\xfea\0", b"a\0b"])
def test_text_that_is_not_utf8(joint: Joint, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.txt .*convert it"):
        Material(tmp_path, joint.recipe)


def test_a_long_text_cannot_stand_for_all(joint: Joint, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(
            f"{number} über das Meer " * (1 + 30 * (number % 4))
        )
    for limit in (300, 1000, 5000):
        recipe = joint.recipe.with_values({"evaluation.test_bytes": limit})
        material = Material(tmp_path, recipe)
        whole = {d.id: d.text for d in material.split.test}
        kept = material.test_documents()
        assert [d.id for d in kept] == list(whole)  # none is missing, and the order is kept
        sizes = [len(d.text.encode()) for d in kept]
        assert limit - 2 * len(kept) <= sum(sizes) <= limit < sum(map(len, whole.values()))
        assert all(whole[d.id].startswith(d.text) for d in kept)
        # The short ones are whole, the cut ones equally long.
        cut = [size for d, size in zip(kept, sizes, strict=True) if d.text != whole[d.id]]
        assert max(cut) - min(cut) <= 3 and max(sizes) == max(cut)


def records(joint: Joint, folder: Path, lines: list[dict[str, str]], **more: int) -> Material:
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = joint.recipe.with_values(
        {
            "objective.name": "classification",
            "objective.labels": ["good", "bad"],
            **{f"evaluation.{key}": value for key, value in more.items()},
        }
    )
    return Material(folder, recipe)


LINES = [
    {"text": f"{n} " + "wait " * (n % 9), "label": "good" if n % 2 else "bad"} for n in range(60)
]


def test_records_keep_their_parts_and_are_never_cut(joint: Joint, tmp_path: Path) -> None:
    whole = records(joint, tmp_path, LINES, test_bytes=0).test_documents()
    assert all(set(d.fields) == {"text", "label"} for d in whole)
    sizes = {d.id: len(d.text.encode()) for d in whole}
    for limit in (1, 40, 150, sum(sizes.values()) - 1):
        kept = records(joint, tmp_path, LINES, test_bytes=limit).test_documents()
        # In the order of hashes, so that a limit favours no length.
        assert kept == whole[: len(kept)] and 0 < len(kept) < len(whole)
        total = sum(sizes[d.id] for d in kept)
        assert total <= limit or len(kept) == 1
        # As many as fit: the next one would be too much.
        assert total + sizes[whole[len(kept)].id] > limit
    limit = sum(sizes.values())
    everything = records(joint, tmp_path, LINES, test_bytes=limit).test_documents()
    assert everything == whole


def test_the_card_of_records_tells_their_labels_apart(joint: Joint, tmp_path: Path) -> None:
    first = records(joint, tmp_path, [*LINES, *LINES[:5], {"text": "x", "label": " "}])
    assert first.card["repeats_dropped"] == 5
    assert first.card["records_passed_over"] == {"empty label": 1}
    other = [*LINES[:-1], {**LINES[-1], "label": "bad"}]
    assert records(joint, tmp_path, other).card["content_sha256"] != first.card["content_sha256"]
    again = records(joint, tmp_path, list(reversed(LINES))).card["content_sha256"]
    assert again == first.card["content_sha256"]
