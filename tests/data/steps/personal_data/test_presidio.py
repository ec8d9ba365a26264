"""Recall and precision on synthetic sentences with marked spans (Microsoft Presidio's)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
SENTENCES = ROOT.parent / "shared" / "data" / "pii-presidio-a" / "synth_dataset_v2.json.gz"


@pytest.mark.skipif(not SENTENCES.exists(), reason="the data set is not here")
def test_hardly_any_is_missed_or_false() -> None:
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks" / "personal_data.py")
    assert spec and spec.loader
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    for kind, row in bench.accuracy(SENTENCES, show=False).items():
        assert row["spans"] >= 14
        assert row["f1"] >= (0.98 if kind == "phone" else 1.0), kind
        assert row["exact"] == 1.0, kind
