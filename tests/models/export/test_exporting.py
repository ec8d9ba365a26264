"""What holds for every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from llmos.cli.export import export as command
from llmos.errors import ModelError, UsageError
from llmos.models.export import exporting
from llmos.models.export.exporting import FORMATS, Format, export


def test_mistakes_are_told_before_any_work(tmp_path: Path) -> None:
    for to, out, precision, told in (
        ("gguff", "m.gguf", "float32", "one of gguf, ct2, onnx"),
        ("onnx", "m", "int8", "one of float32"),
        ("gguf", "m.bin", "float32", "ends in .gguf"),
        ("ct2", ".", "float32", "exists already"),
    ):
        with pytest.raises(UsageError, match=told):
            export("no model", to, tmp_path / out, precision)
    with pytest.raises(ModelError, match="holds no model"):
        export(tmp_path, "ct2", tmp_path / "m")


def test_what_was_exported_is_not_exported_again(tmp_path: Path) -> None:
    for name in ("model.bin", "llmos.json"):
        (tmp_path / name).touch()
    for model in (tmp_path, tmp_path / "m.gguf"):
        with pytest.raises(UsageError, match="exported already"):
            export(model, "onnx", tmp_path / "m")


def test_a_failure_leaves_nothing(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(loaded: object, out: Path, precision: str) -> tuple[str, ...]:
        out.mkdir()
        (out / "a").write_text("half")
        raise UsageError("no")

    monkeypatch.setitem(exporting.FORMATS, "ct2", Format("", write, {"float32": ""}, ""))
    with pytest.raises(UsageError, match="no"):
        export(tiny("gpt2"), "ct2", tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_the_command_tells_the_size_and_the_notes(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "folder" / "m.gguf"
    found = CliRunner().invoke(app, [str(tiny("gpt2")), "--to", "gguf", "--out", str(out)])
    assert found.exit_code == 0 and found.stdout == f"{out}: {out.stat().st_size / 1e6:.1f} MB\n"
    assert "note: llama.cpp" in found.stderr
    assert set(FORMATS) == {"gguf", "ct2", "onnx"}
