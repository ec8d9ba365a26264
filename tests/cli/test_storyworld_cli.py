"""`llmos storyworld write`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from llmos.cli.storyworld import app
from llmos.errors import UsageError


def test_write_prints_one_line_a_file(tmp_path: Path) -> None:
    arguments = ["write", str(tmp_path), "--stories", "3", "--langs", "en, es", "--start", "5"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert [line.split()[0].rsplit("/")[-1] for line in result.output.splitlines()] == [
        "en.jsonl",
        "es.jsonl",
        "card.json",
    ]
    first = json.loads((tmp_path / "es.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["id"] == "storyworld-0-5-es"


def test_an_unknown_language_is_for_the_main_program_to_print(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["write", str(tmp_path), "--stories", "1", "--langs", "xx"])
    assert isinstance(result.exception, UsageError)
