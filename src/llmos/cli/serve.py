"""`llmos serve`: models over HTTP in the form of OpenAI's API; `llmos detect`: its watermark."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.tasks import MODEL
from llmos.cli.texts import read_stdin, whole
from llmos.errors import UsageError
from llmos.listening import address_of, bound
from llmos.models.engines.opening import is_url

BACKLOG = 2048
"""Connections that wait to be taken."""


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Folders of models, runs or adapters, GGUF files, or URLs of services; "
            "NAME=MODEL gives it a name.",
        ),
    ],
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="URL",
            help="Pass requests on to the service there; MODEL... are its names for them.",
        ),
    ] = "",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any.")] = 8000,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=1024, help="Texts written at the same time.")
    ] = 32,
    precision: Annotated[
        str, typer.Option("--precision", help="auto, bf16 or fp32; auto is bf16 where it is fast.")
    ] = "auto",
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", metavar="FILE", help="Valid keys, one a line.")
    ] = None,
    rate: Annotated[
        int, typer.Option("--rate", min=0, metavar="N", help="Requests a minute for each key.")
    ] = 0,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1024, help="Largest request.")] = 4
    << 20,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest answer.")
    ] = 300.0,
    watermark: Annotated[
        bool, typer.Option("--watermark", help="Put a watermark into every text.")
    ] = False,
) -> None:
    """Serve MODEL... to any client of OpenAI's API, under http://HOST:PORT/v1."""
    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"--precision {precision} is unknown: use auto, bf16 or fp32")
    quiet_transformers()
    try:
        import uvicorn

        from llmos.serving.app import create_app
        from llmos.serving.connections import Connection
        from llmos.serving.limits import read_keys
        from llmos.serving.opening import open_all
        from llmos.serving.server import Settings
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: pip install 'llmos[serve]'") from error
    keys = read_keys(api_keys) if api_keys else frozenset[str]()
    if engine:
        models = [_behind(engine, model) for model in models]
    sources = dict(_unique(models))
    settings = Settings(
        keys=keys, per_minute=rate, most_bytes=max_bytes, seconds=timeout, watermark=watermark
    )
    with bound(host, port, BACKLOG) as listener:
        engines = open_all(sources, slots, precision)  # type: ignore[arg-type]
        config = uvicorn.Config(
            create_app(engines, settings),
            http=Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=30,
        )
        # What is there now stays: else each full collection walks all modules, for 0.2 s.
        gc.collect()
        gc.freeze()
        address = address_of(host, listener)
        typer.echo(f"serving {', '.join(engines)} at {address}/v1", err=True)
        uvicorn.Server(config).run(sockets=[listener])


def _named(model: str) -> tuple[str, str]:
    """The name of a model and where it is."""
    name, has_name, source = model.partition("=")
    if has_name and ":" not in name and (is_url(source) or "/" not in name):
        return name, source
    path = Path(model)
    # A run keeps its model in a folder of that name.
    is_inner = path.name == "model" and path.resolve().parent.name
    return (path.resolve().parent.name if is_inner else path.resolve().name) or model, model


def _unique(models: Sequence[str]) -> Iterator[tuple[str, str]]:
    names = set()
    for name, source in map(_named, models):
        if name in names:
            raise UsageError(f"two models are called {name}: name them by NAME=MODEL")
        names.add(name)
        yield name, source


def _behind(url: str, model: str) -> str:
    """MODEL or NAME=MODEL at the service behind a URL."""
    if not is_url(url):
        raise UsageError(f"--engine {url} is no URL: give one like http://host:8000/v1")
    name, has_name, there = model.partition("=")
    return f"{name}={url}#{there if has_name else name}"


def detect(
    text: Annotated[str, typer.Argument(help="The text; - reads it from the input.")],
    model: Annotated[
        Path,
        typer.Option(
            "--model",
            "-m",
            metavar="DIR",
            envvar=MODEL,
            show_envvar=False,
            help=f"The model that may have written it; else what {MODEL} says.",
        ),
    ],
) -> None:
    """Tell whether TEXT has the watermark of --model: z-score and p-value.

    Exit code 0: it has (p below 0.001); 1: that cannot be said.
    """
    quiet_transformers()
    from transformers import AutoConfig

    from llmos.models.base import base_vocabulary
    from llmos.models.folders import model_folder, read
    from llmos.models.watermark import detect as detected

    folder = model_folder(model)
    size = read(AutoConfig, folder).get_text_config().vocab_size
    content = read_stdin() if text == "-" else whole(text, "TEXT")
    found = detected(base_vocabulary(str(folder)).encode(content), size)
    is_marked = found.p < 1e-3
    typer.echo(
        f"{'watermark found' if is_marked else 'no watermark found'}: z = {found.z:.2f}, "
        f"p = {found.p:.2g} ({found.green} of {found.tokens} tokens green, a quarter by chance)"
    )
    if not is_marked:
        raise typer.Exit(1)
