"""Folders of CTranslate2; what is in them runs in `engines`' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmos.errors import UsageError
from llmos.models.engines.ctranslate2_engine import CTranslate2Engine
from llmos.models.engines.engine import Decoding, Request
from llmos.models.export.exporting import export

pytest.importorskip("ctranslate2")


def test_int8_is_smaller_and_runs(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    for precision in ("float32", "int8"):
        assert export(tiny("t5"), "ct2", tmp_path / precision, precision) == ()
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("int8", "float32")]
    assert sizes[0] < 0.6 * sizes[1]
    engine = CTranslate2Engine(tmp_path / "int8", threads=1)
    request = Request(prompt="x", decoding=Decoding(max_new_tokens=4, num_beams=2))
    assert engine.write([request])[0].new_tokens <= 4


def test_a_head_is_not_lost_silently(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use --to onnx"):
        export(tiny("labels"), "ct2", tmp_path / "m")
    (note,) = export(tiny("bert"), "ct2", tmp_path / "n")
    assert "left out" in note
