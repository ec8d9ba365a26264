"""ONNX graphs in ONNX Runtime, against transformers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmos.models.engines.loading import load
from llmos.models.export.exporting import export
from llmos.models.framing import source_tokens
from llmos.models.generate_batch import generate_batch

ort: Any = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
torch.set_num_threads(1)


def session(folder: Path, out: Path) -> Any:
    export(folder, "onnx", out)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(out / "model.onnx"), options)


def agree(folder: Path, run: Any) -> None:
    """Outputs equal transformers' for several shapes, with padding."""
    loaded = load(folder)
    for batch, length in ((1, 3), (3, 11), (2, 1)):
        rng = np.random.default_rng(length)
        ids = rng.integers(0, 200, (batch, length))
        mask = np.ones_like(ids)
        mask[0, length // 2 + 1 :] = 0
        feed = {"input_ids": ids, "attention_mask": mask}
        if loaded.kind == "encoder-decoder":
            feed["decoder_input_ids"] = rng.integers(0, 200, (batch, 4))
        with torch.no_grad():
            wanted = loaded.model(**{name: torch.tensor(value) for name, value in feed.items()})
        for output, found in zip(run.get_outputs(), run.run(None, feed), strict=True):
            values = getattr(wanted, output.name).numpy()
            # With weights this large, T5's unscaled attention makes much of the last bits.
            assert np.abs(found - values).max() <= 1e-3 * max(1, np.abs(values).max())


@pytest.mark.slow
def test_a_classifier(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    run = session(tiny("labels"), tmp_path / "m")
    agree(tiny("labels"), run)
    assert (tmp_path / "m" / "tokenizer.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["answers", "bert"])
def test_other_encoders(tiny: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    agree(tiny(kind), session(tiny(kind), tmp_path / "m"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_greedy_text_is_the_same(tiny: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    run = session(tiny(kind), tmp_path / "m")
    agree(tiny(kind), run)
    loaded = load(tiny(kind))
    for text in ("the tree", "水", "bread, water 面包"):
        source = source_tokens(loaded.words, text)
        ids = [loaded.words.pad] if kind == "t5" else list(source)
        first = len(ids)
        while (len(ids) < first + 12 and ids[-1] != loaded.words.end) or len(ids) == first:
            read = source if kind == "t5" else ids
            feed = {"input_ids": np.array([read]), "attention_mask": np.ones((1, len(read)), int)}
            if kind == "t5":
                feed["decoder_input_ids"] = np.array([ids])
            ids.append(int(run.run(None, feed)[0][0, -1].argmax()))
        found = loaded.words.tokenizer.decode(ids[first:], skip_special_tokens=True)
        given = text if kind == "t5" else source
        wanted = generate_batch(loaded.model, loaded.words, [given], max_new_tokens=12)
        assert [found] == wanted


def test_torch_says_nothing_of_packages_that_no_model_needs(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from llmos.models.export.exporting import export\n"
        "export(sys.argv[1], 'onnx', Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny("gpt2")), str(tmp_path / "m")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
