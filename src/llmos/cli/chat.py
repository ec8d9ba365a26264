"""`llmos chat`: a conversation on the terminal, or the answer to one message."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.tasks import (
    Beams,
    Instructions,
    MaxNewTokens,
    Model,
    Seed,
    Temperature,
    decoding_of,
    open_model,
    print_stream,
)
from llmos.cli.texts import read_line
from llmos.models.engines.engine import Engine
from llmos.tasks.dialogue import DIALOGUE
from llmos.tasks.task import Options
from llmos.tasks.turns import write_turns

PROMPT = "> "


def chat(
    text: Annotated[
        str | None, typer.Argument(help="One message; else each line of stdin is one.")
    ] = None,
    system: Annotated[
        str, typer.Option("--system", help="What the model shall know or be, for all turns.")
    ] = "",
    model: Model = "",
    instructions: Instructions = "",
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    beams: Beams = None,
    seed: Seed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all turns as JSON at the end.")
    ] = False,
) -> None:
    """Talk with a model; it sees the turns before. An empty line or Ctrl-D ends it."""
    quiet_transformers()
    engine = open_model(model)
    decoding = decoding_of(
        {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "beams": beams,
            "seed": seed,
        }
    )
    options = Options(language=instructions, decoding=decoding)
    turns = [{"role": "system", "content": system}] if system else []
    is_interactive = text is None and sys.stdin.isatty()
    while True:
        said = text if text is not None else _next_line(is_interactive)
        if not said.strip():
            break
        answer = _answer(engine, said, turns, options, is_shown=not as_json)
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        if text is not None:
            break
    if as_json:
        typer.echo(json.dumps(turns, ensure_ascii=False))


def _next_line(is_interactive: bool) -> str:
    """The next message; "" at the end."""
    if is_interactive:
        typer.echo(PROMPT, nl=False)
    return read_line()


def _answer(
    engine: Engine, said: str, turns: list[dict[str, str]], options: Options, *, is_shown: bool
) -> str:
    from llmos.tasks.running import run, stream

    inputs = {"text": said, "history": write_turns(turns) if turns else ""}
    if is_shown:
        return print_stream(stream(DIALOGUE, engine, inputs, options)).text
    return run(DIALOGUE, engine, [inputs], options)[0].text
