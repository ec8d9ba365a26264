"""ONNX (onnx.ai), by torch's own exporter: one graph, for ONNX Runtime and what is built on it."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmos.errors import ModelError, UsageError
from llmos.models.engines.loading import Loaded
from llmos.models.folders import quietly

PRECISIONS = {"float32": "float32"}
EXTRA = "pip install onnx onnxscript"
GRAPH = "model.onnx"
_OUTPUTS = {"extractive_qa": ("start_logits", "end_logits"), "encoder": ("last_hidden_state",)}
_BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_NO_CACHE = "the graph reads a text as a whole (no cache): for each new token it is run again"


def write_onnx(loaded: Loaded, out: Path, precision: str) -> tuple[str, ...]:
    """Write the folder `out`; what the user must know of it.

    The graph takes `input_ids` and `attention_mask`, an encoder-decoder's `decoder_input_ids` too,
    each (batch, sequence), int64; it gives `logits`, those of a span's ends, or the last layer.
    Raises `UsageError` for a model that cannot be exported.
    """
    try:
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise ModelError(f"onnxscript is not installed: {EXTRA}") from error
    outputs = _OUTPUTS.get(loaded.head, ("logits",))
    names = ["input_ids", "attention_mask"]
    if loaded.kind == "encoder-decoder":
        names.append("decoder_input_ids")
    # The fused kernels put their results down in an order that the exporter loses (T5's).
    loaded.model.set_attn_implementation("eager")
    graph = _Graph(loaded.model, names, outputs).eval()
    # Sizes of their own, so that no two of them are taken for one.
    ids = torch.arange(2 * 6).reshape(2, 6) % loaded.model.config.vocab_size
    examples = [ids, torch.ones_like(ids), ids[:, :5]][: len(names)]
    batch = torch.export.Dim("batch")
    shapes = tuple(
        {0: batch, 1: torch.export.Dim("target" if name.startswith("decoder") else "sequence")}
        for name in names
    )
    with quietly(), _quiet_torch():
        out.mkdir(parents=True, exist_ok=True)
        try:
            torch.onnx.export(
                graph,
                tuple(examples),
                str(out / GRAPH),
                input_names=names,
                output_names=list(outputs),
                dynamic_shapes={"inputs": shapes},
                external_data=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UsageError(
                f"{loaded.folder}: torch cannot export a {loaded.model.config.model_type} model to "
                f"ONNX ({str(error).strip().splitlines()[0][:200]}): serve it as it is"
            ) from error
        for name in _BESIDE:
            if (loaded.folder / name).exists():
                shutil.copyfile(loaded.folder / name, out / name)
    return (_NO_CACHE,) if loaded.kind != "encoder" else ()


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Within, torch warns of nothing about itself: no packages that no model of ours needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Graph(nn.Module):
    """The model from tensors to tensors."""

    def __init__(self, model: Any, inputs: list[str], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cache = {"use_cache": False} if self.model.can_generate() else {}
        found = self.model(**dict(zip(self.inputs, inputs, strict=True)), **cache)
        return tuple(getattr(found, name) for name in self.outputs)
