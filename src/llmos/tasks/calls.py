"""Tasks as plain calls: `llmos.tasks.translate(model, "Good morning.", to="fr").text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

from llmos.models.engines.engine import Engine
from llmos.tasks.running import run
from llmos.tasks.task import Options, Result, Task


@overload
def call(  # type: ignore[overload-overlap]
    task: Task,
    model: Engine | Path | str,
    text: str,
    *,
    language: str = "",
    decoding: Mapping[str, Any] | None = None,
    **fields: str,
) -> Result: ...
@overload
def call(
    task: Task,
    model: Engine | Path | str,
    text: Sequence[str],
    *,
    language: str = "",
    decoding: Mapping[str, Any] | None = None,
    **fields: str,
) -> list[Result]: ...
def call(
    task: Task,
    model: Engine | Path | str,
    text: str | Sequence[str],
    *,
    language: str = "",
    decoding: Mapping[str, Any] | None = None,
    **fields: str,
) -> Result | list[Result]:
    """The result for a text, or the results for several, which are written together.

    `model`: an engine, a folder (the last one used stays in memory), or the URL of a service.
    `text`: the task's first field; `fields`: the others, such as `to="fr"` (with an underscore
    behind Python's own words: `from_="en"`). `language`: that of the instructions. `decoding`: such
    as `{"temperature": 0.7}`. Raises `UsageError` for what does not fit the task, `ModelError` for
    a model that cannot be loaded, `UnsupportedError` for one that cannot do it.
    """
    engine = _engine(str(model)) if isinstance(model, str | Path) else model
    given = {name.removesuffix("_"): value for name, value in fields.items()}
    options = Options(language=language, decoding=decoding or {})
    texts = [text] if isinstance(text, str) else text
    results = run(task, engine, [{task.main.name: one, **given} for one in texts], options)
    return results[0] if isinstance(text, str) else results


@lru_cache(maxsize=1)
def _engine(model: str) -> Engine:
    from llmos.models.engines.opening import open_engine

    return open_engine(model)
