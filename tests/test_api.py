"""`import llmos`: the few names that most programs need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmos

if TYPE_CHECKING:
    from tests.conftest import Joint


def test_train_verify_generate(
    joint: Joint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = llmos.load_recipe(joint.recipe_file)
    capfd.readouterr()
    run = llmos.train(recipe, out=tmp_path / "run", members=joint.members, compare=True)
    assert capfd.readouterr() == ("", "")  # a library is silent
    assert joint.result(run.folder) == joint.result(joint.folder)
    assert run.comparison is not None and run.comparison["version"] == 1
    assert llmos.verify(run.folder).ok
    assert "".join(llmos.generate(run.model, "Anna", seed=1, max_new_tokens=3))


def test_paths_may_be_text(joint: Joint, tmp_path: Path) -> None:
    run = llmos.train(
        str(joint.recipe_file), out=str(tmp_path / "run"), data=str(joint.members["anna"])
    )
    assert run.comparison is None and llmos.verify(str(run.folder)).ok


def test_names() -> None:
    assert set(dir(llmos)) == {
        "__version__",
        "generate",
        "load_recipe",
        "resume",
        "train",
        "verify",
    }
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        llmos.tarin  # noqa: B018
