"""The engine for a model, by how it is named: a folder, or the URL of a service."""

from __future__ import annotations

from llmos.models.engines.engine import Engine


def open_engine(model: str) -> Engine:
    """An engine over a folder of transformers, or over an OpenAI-compatible service.

    Raises `ModelError` where there is none.
    """
    if model.startswith(("http://", "https://")):
        from llmos.models.engines.remote import RemoteEngine

        return RemoteEngine(model)
    from llmos.models.engines.local import LocalEngine

    return LocalEngine(model)
