"""Models in the formats of other tools: `export("runs/gpt", "gguf", Path("gpt.gguf"))`.

A format is one file beside this one and one line in `FORMATS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmos.errors import UsageError
from llmos.models.engines.loading import Loaded, load
from llmos.models.engines.opening import is_ctranslate2
from llmos.models.export import ct2, gguf, onnx
from llmos.storage import storage_errors


@dataclass(frozen=True)
class Format:
    """write: puts a model into a file or a folder, and gives what the user must know of it;
    precisions: how weights can be saved; suffix: of its files, "" for a folder."""

    about: str
    write: Callable[[Loaded, Path, str], tuple[str, ...]]
    precisions: Mapping[str, str]
    suffix: str


FORMATS: dict[str, Format] = {
    "gguf": Format(
        "a file for llama.cpp, Ollama, LM Studio", gguf.write_gguf, gguf.PRECISIONS, ".gguf"
    ),
    "ct2": Format("a folder for CTranslate2", ct2.write_ct2, ct2.PRECISIONS, ""),
    "onnx": Format("a folder for ONNX Runtime", onnx.write_onnx, onnx.PRECISIONS, ""),
}


def export(model: Path | str, to: str, out: Path, precision: str = "float32") -> tuple[str, ...]:
    """Write the model of a folder, or of the run in it, as `out`; what the user must know of it.

    `out` is there whole or not at all. Raises `UsageError` for a format, a precision, a model or
    an `out` that does not fit, `ModelError` where the model is not whole, or the library for the
    format is not installed, `StorageError` when the disk is full.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r}: give one of {', '.join(FORMATS)}")
    form = FORMATS[to]
    if precision not in form.precisions:
        known = ", ".join(form.precisions)
        raise UsageError(f"{to} has no precision {precision!r}: give one of {known}")
    if out.suffix != form.suffix and form.suffix:
        raise UsageError(f"{out} is to be {form.about}: give a name that ends in {form.suffix}")
    if out.exists():
        raise UsageError(f"{out} exists already: remove it, or give another name")
    if str(model).endswith(".gguf") or is_ctranslate2(str(model)):
        raise UsageError(f"{model} has been exported already: give the folder of its model")
    loaded = load(Path(model))
    begun = out.with_name(f".{out.name}.part")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove(begun)
        try:
            notes = form.write(loaded, begun, precision)
            os.replace(begun, out)
        finally:
            _remove(begun)
    return notes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
