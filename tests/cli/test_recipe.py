"""`llmos recipe`: what each command writes, prints and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmos.cli.main import app
from llmos.errors import RecipeError, StorageError, UsageError
from llmos.recipe import KEYS, keys_markdown, load_recipe


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(
        app, ["recipe", *map(str, arguments)], catch_exceptions=False, prog_name="llmos"
    )
    assert result.exit_code == code, result.output
    return result.stdout


def test_new_writes_a_commented_recipe_that_check_accepts(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "My Plan.toml"
    out = run("new", path, "--set", "training.batch_size=8", "--set", "languages=en,fr")
    assert str(path) in out
    recipe = load_recipe(path)
    assert recipe.name == "my-plan"
    assert (recipe.training.batch_size, recipe.languages) == (8, ("en", "fr"))
    assert "# transformer blocks" in path.read_text()
    assert run("check", path) == f"my-plan {recipe.sha256()}\n"


def test_new_from_another_takes_its_values_and_a_name_of_its_own(tmp_path: Path) -> None:
    run("new", tmp_path / "a.toml", "--set", "seed=5")
    run("new", tmp_path / "b.toml", "--from", tmp_path / "a.toml", "--set", "seed=6")
    assert load_recipe(tmp_path / "b.toml") == load_recipe(tmp_path / "a.toml").with_values(
        {"name": "b", "seed": 6}
    )
    run("new", tmp_path / "配方.toml", "--set", "name=c")
    assert load_recipe(tmp_path / "配方.toml").name == "c"


def test_new_overwrites_nothing_and_writes_nothing_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        run("new", path)
    assert path.read_text() == "mine"
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists"):
        run("new", link)
    with pytest.raises(RecipeError, match="did you mean seed"):
        run("new", tmp_path / "b.toml", "--set", "sead=1")
    with pytest.raises(RecipeError, match="does not exist"):
        run("new", tmp_path / "b.toml", "--from", tmp_path / "none.toml")
    with pytest.raises(StorageError):
        run("new", tmp_path / ("x" * 5000))
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_show_lists_every_key_and_marks_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    run("new", path, "--set", "model.num_layers=2")
    lines = run("show", path).splitlines()
    assert [line.split(" = ")[0] for line in lines[:-1]] == list(KEYS)
    assert "model.num_layers = 2" in lines
    assert "model.num_heads = 4  # default" in lines
    assert lines[-1] == f"# sha256 {load_recipe(path).sha256()}"
    # What is shown is itself a recipe: dotted keys are TOML.
    again = tmp_path / "again.toml"
    again.write_text("\n".join(lines))
    assert load_recipe(again) == load_recipe(path)


def test_diff_tells_by_its_exit_code(tmp_path: Path) -> None:
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    run("new", a, "--set", "name=x")
    run("new", b, "--set", "name=x", "--set", "evaluation.columns=pooled")
    assert run("diff", a, a) == "the recipes agree in every key\n"
    assert run("diff", a, b, code=1) == (
        'evaluation.columns: ["alone", "together", "together_own", "pooled"] -> ["pooled"]\n'
    )


def test_keys_prints_the_page() -> None:
    assert run("keys") == keys_markdown()
