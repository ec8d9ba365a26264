"""The engine for a model, by how it is named: a folder, a GGUF file, or the URL of a service."""

from __future__ import annotations

from pathlib import Path

from llmos.models.engines.engine import Engine


def is_url(model: str) -> bool:
    """Whether a model is named by the URL of a service."""
    return model.startswith(("http://", "https://"))


def is_ctranslate2(model: str) -> bool:
    """Whether a folder holds a model in CTranslate2's form, as `llmos export` writes it."""
    return (Path(model) / "model.bin").is_file() and (Path(model) / "llmos.json").is_file()


def open_engine(model: str) -> Engine:
    """An engine over a folder of transformers or CTranslate2, a GGUF file, or a service's URL.

    Raises `ModelError` where there is none.
    """
    if is_url(model):
        from llmos.models.engines.remote import RemoteEngine

        return RemoteEngine(model)
    if model.endswith(".gguf"):
        from llmos.models.engines.llama_cpp_engine import LlamaCppEngine

        return LlamaCppEngine(model)
    if is_ctranslate2(model):
        from llmos.models.engines.ctranslate2_engine import CTranslate2Engine

        return CTranslate2Engine(model)
    from llmos.models.engines.local import LocalEngine

    return LocalEngine(model)
