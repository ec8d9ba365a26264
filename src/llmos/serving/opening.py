"""The engines of a server, by the names under which they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llmos.errors import ModelError, UsageError
from llmos.models.engines.adapted_engine import AdaptedEngine
from llmos.models.engines.adapters import CONFIG, is_adapter
from llmos.models.engines.engine import Engine
from llmos.models.engines.local import LocalEngine
from llmos.models.engines.opening import is_ctranslate2, is_url, open_engine
from llmos.models.engines.transformers_engine import Precision, TransformersEngine


def open_all(sources: Mapping[str, str], slots: int, precision: Precision) -> dict[str, Engine]:
    """An engine for each source: a folder of a model, a run or an adapter, a GGUF file, a URL.

    Folders of transformers are decoded continuously. An adapter is written in the steps of its
    base, which must be one of the sources. Raises `ModelError`, `UsageError`.
    """
    whole = {name: one for name, one in sources.items() if not is_adapter(Path(one))}
    engines = {name: _open(source, slots, precision) for name, source in whole.items()}
    return {
        name: engines[name] if name in whole else _adapted(Path(source), whole, engines)
        for name, source in sources.items()
    }


def _open(source: str, slots: int, precision: Precision) -> Engine:
    if is_url(source) or source.endswith(".gguf") or is_ctranslate2(source):
        return open_engine(source)
    return TransformersEngine(source, slots=slots, precision=precision)


def _adapted(folder: Path, whole: Mapping[str, str], engines: Mapping[str, Engine]) -> Engine:
    bases = {n: e for n, e in engines.items() if isinstance(e, TransformersEngine)}
    if len(bases) > 1:
        stated = _stated_base(folder)
        bases = {
            name: engine
            for name, engine in bases.items()
            if stated in (name, whole[name], str(engine.folder)) or _same(stated, engine)
        }
    if len(bases) != 1:
        raise UsageError(
            f"{folder} is an adapter: serve it together with the model that it was trained over"
        )
    (base,) = bases.values()
    return AdaptedEngine(base, folder)


def _stated_base(folder: Path) -> str:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be read ({error}): restore it") from error
    return str(found.get("base_model_name_or_path") or "") if isinstance(found, dict) else ""


def _same(stated: str, engine: LocalEngine) -> bool:
    return bool(stated) and Path(stated).resolve() == engine.folder.resolve()
