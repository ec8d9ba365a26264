"""CTranslate2 (github.com/OpenNMT/CTranslate2), by its own converters for transformers' models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from llmos.errors import ModelError, UsageError
from llmos.models.engines.ctranslate2_engine import FACTS
from llmos.models.engines.loading import Loaded
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.storage import write_atomic

PRECISIONS = {"float32": "float32", "float16": "float16", "int8": "int8"}
"""Ours and CTranslate2's names of how weights are saved."""
EXTRA = "pip install ctranslate2"


def write_ct2(loaded: Loaded, out: Path, precision: str) -> tuple[str, ...]:
    """Write the folder `out`; what the user must know of it.

    Raises `UsageError` for a model that CTranslate2 does not run.
    """
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise ModelError(f"CTranslate2 is not installed: {EXTRA}") from error
    if loaded.head in ("classification", "extractive_qa"):
        raise UsageError(
            f"{loaded.folder} has a head, and CTranslate2 runs networks without: use --to onnx"
        )

    class Converter(TransformersConverter):  # type: ignore[misc]
        """Converts the model that is loaded already, safely and without a network."""

        def load_model(self, model_class: Any, model_name_or_path: str, **_: Any) -> Any:
            return _network(loaded)

        def _load(self) -> Any:
            spec = super()._load()
            spec.config.layer_norm_epsilon = _epsilon(loaded.model.config)
            if spec.config.unk_token is None:  # it reads no null
                spec.config.unk_token = ""
            return spec

    try:
        Converter(str(loaded.folder)).convert(str(out), quantization=PRECISIONS[precision])
    except (ValueError, AttributeError, NotImplementedError) as error:
        raise UsageError(
            f"{loaded.folder}: CTranslate2 cannot convert a {loaded.model.config.model_type} model "
            f"({str(error).splitlines()[0]}): use --to onnx, or serve it as it is"
        ) from error
    words = loaded.words
    facts = {
        "kind": loaded.kind,
        "context_length": loaded.context_length,
        "eos_token_id": words.end,
        "bos_token_id": words.begin,
        "pad_token_id": words.pad,
        "ends": [words.end] if loaded.kind == "encoder" else sorted(loaded.ends),
    }
    write_atomic(out / "tokenizer.json", tokenizer_to_bytes(words.tokenizer))
    write_atomic(out / FACTS, (json.dumps(facts, indent=2) + "\n").encode())
    if loaded.kind == "encoder":
        return ("it gives vectors (embed); the head for masked words is left out",)
    return ()


def _network(loaded: Loaded) -> Any:
    """The model as CTranslate2's converters look at it."""
    if loaded.kind != "encoder":
        return loaded.model
    network: Any = loaded.model.base_model
    # Transformers 5 has no other positions any more, and so does not say which.
    network.config.position_embedding_type = "absolute"
    if getattr(network, "pooler", None) is None:  # the converter wants one; `embed` uses none
        width = network.config.hidden_size
        network.pooler = torch.nn.Module()
        network.pooler.dense = torch.nn.Linear(width, width)
        torch.nn.init.zeros_(network.pooler.dense.weight)
        torch.nn.init.zeros_(network.pooler.dense.bias)
    return network


def _epsilon(config: Any) -> float | None:
    """What is added to the variance; CTranslate2's own converters leave most families' out."""
    names = ("layer_norm_epsilon", "rms_norm_eps", "layer_norm_eps")
    return next((getattr(config, name) for name in names if getattr(config, name, None)), None)
