"""`llmos translate`, `summarize`, `ask`, `classify`, `code`, `write`: made from the tasks.

A command has an argument for the task's first field and an option for each other one; `llmos chat`
is in `cli.chat`.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.texts import read_stdin, read_text
from llmos.errors import UsageError
from llmos.models.engines.engine import Engine
from llmos.tasks import COMMANDS
from llmos.tasks.task import Field, Inputs, Options, Result, Task

MODEL = "LLMOS_MODEL"
"""The environment variable that names a model for all commands."""

_Text = Annotated[str | None, typer.Argument(help="The text; else it is read from stdin.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar=MODEL,
        show_envvar=False,
        metavar="DIR|URL",
        help=f"A model folder, a run, or a URL; else what {MODEL} says.",
    ),
]
Instructions = Annotated[
    str, typer.Option("--instructions", metavar="CODE", help="Their language, else the text's.")
]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", metavar="N", help="Stop after N tokens.")
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="0 takes the likeliest token each time."),
]
Beams = Annotated[int | None, typer.Option("--beams", metavar="N", help="Search with N beams.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Makes sampling repeatable.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "file": (
        Annotated[Path | None, typer.Option("--file", help="Read the text from a file.")],
        None,
    ),
    "each_line": (
        Annotated[
            bool, typer.Option("--each-line", help="Each line is a text of its own, in batches.")
        ],
        False,
    ),
    "model": (Model, ""),
    "instructions": (Instructions, ""),
    "max_new_tokens": (MaxNewTokens, None),
    "temperature": (Temperature, None),
    "beams": (Beams, None),
    "seed": (Seed, None),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print all that is known as JSON Lines.")],
        False,
    ),
}


def mount(app: typer.Typer) -> None:
    """Add a command for each task but the dialogue, which has one of its own."""
    for name, task in COMMANDS.items():
        if name != "chat":
            app.command(name, help=_help(task))(command_of(task))


def _help(task: Task) -> str:
    """With the worked example, as it would be typed."""
    main, *others = (one.name for one in task.fields if one.name in task.example.inputs)
    given = [f'"{task.example.inputs[main]}"']
    for name in others:
        value = task.example.inputs[name]
        is_file = _is_file(next(one for one in task.fields if one.name == name))
        given.append(f"--{name} {'FILE' if is_file else value}")
    lines = [task.about, f"llmos {task.command} {' '.join(given)}"]
    for name in others:
        if _is_file(next(one for one in task.fields if one.name == name)):
            lines.append(f"(FILE: {task.example.inputs[name]})")
    shown = task.example.output.replace("\n", "\n\n")
    return "\n\n".join([*lines, f"-> {shown}"])


def command_of(task: Task) -> Callable[..., None]:
    """The function behind a task's command, with the task's fields as its parameters."""

    def command(**values: Any) -> None:
        quiet_transformers()
        options = Options(language=values["instructions"], decoding=decoding_of(values))
        many = list(_inputs(task, values))
        for inputs in many:
            task.complete(inputs)  # a mistake is told before the model is loaded
        engine = open_model(values["model"])
        from llmos.tasks.running import run, stream

        if len(many) == 1 and not values["as_json"] and not values["each_line"]:
            print_stream(stream(task, engine, many[0], options))
            return
        for result in run(task, engine, many, options):
            if values["as_json"]:
                typer.echo(json.dumps(result.to_json(), ensure_ascii=False))
            else:
                # With a line for each text, a text has one line.
                typer.echo(" ".join(result.text.split("\n")))

    parameters = {"text": (_Text, None)}
    parameters |= {one.name: _option(one) for one in task.fields[1:] if one.kind != "messages"}
    parameters |= _COMMON
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                _safe(name), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for name, (kind, default) in parameters.items()
        ]
    )
    command.__annotations__ = {_safe(name): kind for name, (kind, _) in parameters.items()}
    return command


def _safe(name: str) -> str:
    return f"{name}_" if name == "from" else name


def _is_file(one: Field) -> bool:
    """A long text beside the first field comes from a file."""
    return one.kind == "long_text"


def _option(one: Field) -> tuple[Any, Any]:
    kind: Any = Path if _is_file(one) else str
    help_ = f"{one.about[0].upper()}{one.about[1:]}."
    if _is_file(one):
        help_ = f"A file: {one.about}."
    option = typer.Option(f"--{one.name}", help=help_, show_default=bool(one.default))
    return Annotated[kind | None, option], one.default


def decoding_of(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of decoding that were given."""
    names = {"max_new_tokens": "max_new_tokens", "temperature": "temperature", "seed": "seed"}
    names |= {"beams": "num_beams"}
    return {to: values[name] for name, to in names.items() if values[name] is not None}


def _inputs(task: Task, values: dict[str, Any]) -> Iterator[Inputs]:
    """The inputs of a command: one, or one for each line that is not blank."""
    rest: dict[str, str] = {}
    for one in task.fields[1:]:
        value = values.get(_safe(one.name))
        if value is not None:
            rest[one.name] = read_text(value) if isinstance(value, Path) else value
    text = values["text"]
    if text is not None and values["file"] is not None:
        raise UsageError("a text and --file are given: leave one of them out")
    if values["file"] is not None:
        text = read_text(values["file"])
    elif text in (None, "-"):
        if sys.stdin.isatty():
            raise UsageError(f"no text: give it behind `llmos {task.command}`, or by --file")
        text = read_stdin()
    texts = [line for line in text.splitlines() if line.strip()] if values["each_line"] else [text]
    if not texts:
        raise UsageError("no line holds a text: give some")
    for one_text in texts:
        yield {task.main.name: one_text, **rest}


def open_model(model: str) -> Engine:
    """The engine of --model. Raises `UsageError` where none is named."""
    if not model:
        raise UsageError(f"no model: add --model DIR (or URL), or set {MODEL}")
    from llmos.models.engines.opening import open_engine

    return open_engine(model)


def print_stream(pieces: Generator[str, None, Result]) -> Result:
    """Show a text as it is written, and behind it what a reader should know, on stderr."""
    with closing(pieces):
        while True:
            try:
                typer.echo(next(pieces), nl=False)
            except StopIteration as end:
                result: Result = end.value
                break
    typer.echo()
    for note in notes(result):
        typer.echo(note, err=True)
    return result


def notes(result: Result) -> list[str]:
    """What a reader should know beside the text."""
    found = []
    if result.values.get("label") == "" and "written" in result.values:
        found.append(f"none of the labels; the model wrote: {result.values['written'][:200]}")
    probabilities = result.values.get("probabilities") or {}
    if probabilities:
        shares = sorted(probabilities.items(), key=lambda pair: -pair[1])
        found.append(", ".join(f"{label} {share:.1%}" for label, share in shares))
    if result.values.get("no_answer"):
        found.append("no answer in the text")
    if result.values.get("score") is not None:
        found.append(f"score: {result.values['score']:.3f}")
    if result.windows > 1:
        found.append(f"windows: {result.windows}")
    if result.finish == "length":
        found.append("cut at the limit of tokens (--max-new-tokens)")
    return found
