"""A member's text on its way to training."""

from __future__ import annotations

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
    assert a.validation_texts() == b.validation_texts() and a.test_texts() == b.test_texts()


def test_held_out_text_is_cut_at_the_limits_of_the_recipe(joint: Joint) -> None:
    recipe = joint.recipe.with_values(
        {"evaluation.validation_bytes": 1, "evaluation.test_bytes": 0}
    )
    material = Material(joint.members["anna"], recipe)
    assert len(material.validation_texts()) == 1
    assert len(material.test_texts()) == len(material.split.test) < FEWEST_UNITS
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
