"""`llmos export`: a model for the tools that people use at home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, or a run.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="gguf (llama.cpp, Ollama, LM Studio), ct2 (CTranslate2) or onnx (ONNX Runtime).",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="A file for gguf, else a folder.")
    ],
    precision: Annotated[
        str, typer.Option("--precision", help="Of the weights: float32, float16 or int8.")
    ] = "float32",
) -> None:
    """Write MODEL in the format of another tool; in float32 it writes the same greedy text."""
    quiet_transformers()
    from llmos.models.export.exporting import export as write

    notes = write(model, to, out, precision)
    files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
    typer.echo(f"{out}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
    for note in notes:
        typer.echo(f"note: {note}", err=True)
