"""`llmos data optout` and `llmos data publish`: what they say, and how they refuse."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from llmos.cli.data_optout import optout
from llmos.cli.data_publish import publish
from llmos.data.card import card_sha256, read_card
from llmos.data.documents import Document
from llmos.errors import DataError

app = typer.Typer()
app.command()(optout)
app.command()(publish)


def _prepare(folder: Path) -> None:
    path = Path(__file__).parent.parent / "data" / "conftest.py"
    spec = importlib.util.spec_from_file_location("prepared_folder", path)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hosts = ("a.example", "b.example", "")
    documents = [
        Document(str(n), f"text {n}", url=f"https://{h}/{n}" if h else "", licence="MIT")
        for n, h in enumerate(hosts * 2)
    ]
    module.prepare_folder(folder, [documents])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("datatrove")
    _prepare(tmp_path / "folder")
    return tmp_path / "folder"


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_optout_says_what_went_and_both_hashes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.example\n")
    before = card_sha256(read_card(folder))
    lines = _run("optout", folder, "--domains", tmp_path / "list.txt").output.splitlines()
    after = card_sha256(read_card(folder))
    assert lines[:3] == [
        "2 documents taken out, 4 left",
        "         2  list.txt",
        "2 documents have no address: no list can tell of them",
    ]
    assert lines[3] == f"sha256 of the card: {before} -> {after}"
    assert "packed again" in lines[5]
    again = _run("optout", folder, "--domains", tmp_path / "list.txt").output.splitlines()
    assert again[0] == "0 documents taken out, 4 left"
    assert again[2] == f"sha256 of the card: {after}, unchanged" and len(again) == 4


def test_optout_refuses_a_wrong_list(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("co.uk\n")
    result = _run("optout", folder, "--domains", tmp_path / "list.txt")
    assert isinstance(result.exception, DataError)
    assert "list.txt line 1" in str(result.exception)


def test_publish_lists_the_files(folder: Path, tmp_path: Path) -> None:
    result = _run("publish", folder, "--to", tmp_path / "out", "--level", "open")
    names = [Path(line.split("  ")[0]).name for line in result.output.splitlines()]
    assert names == ["README.md", "card.json", "train-00000-of-00001.parquet"]
    result = _run(
        "publish", folder, "--to", tmp_path / "m", "--level", "metadata", "--contact", "A"
    )
    assert len(result.output.splitlines()) == 1
    (tmp_path / "list.txt").write_text("b.example\n")
    result = _run(
        "publish", folder, "--to", tmp_path / "o", "--level", "open",
        "--domains", tmp_path / "list.txt",
    )  # fmt: skip
    assert isinstance(result.exception, DataError) and "opted out" in str(result.exception)
