"""The `llmos` command.

Exit codes: 0 done, 1 no (a check failed, files differ), 2 a mistake that can be mended, told in
one line, 130 interrupted. To add a group of commands: one file beside this one, one line under
"Mounted here". Heavy libraries are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from llmos import __version__
from llmos.cli import (
    chat,
    data,
    demo,
    evaluate,
    export,
    generate,
    hub,
    leaderboard,
    member,
    plan,
    publish,
    recipe,
    runs,
    serve,
    storyworld,
    tasks,
    tokenizer,
    train,
    verify,
)
from llmos.device import share_cores
from llmos.errors import LLMOSError

WELCOME = f"""\
LLMOS {__version__}: build language models together; each member's text stays at home.

First steps:
  llmos demo                see it all once, in five minutes: train, compare, verify, try
  llmos storyworld write    make a small text in several languages to try things with
  llmos data prepare        clean, deduplicate and document text before training
  llmos recipe new          write the recipe that the members agree on
  llmos plan                announce a joint run on a hub; llmos member agree signs it
  llmos train               train one model jointly, and measure what joining brings
  llmos runs                list the runs in this folder
  llmos publish             share a finished run on a hub, with its evidence
  llmos verify              check a run's signatures, ledger and merges
  llmos generate            write text with the model
  llmos evaluate            judge a model; llmos leaderboard shows who is best
  llmos translate           put it to use; also summarize, ask, chat, classify, code, write
  llmos serve               answer over HTTP, as OpenAI's API does
  llmos hub start           run a hub: share models, data sets, runs and results

`llmos COMMAND --help` tells more of each."""

app = typer.Typer(
    name="llmos",
    help="Build language models together; each member's text stays at home.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# Mounted here, in the order of --help.
app.command()(demo.demo)
app.add_typer(recipe.app, name="recipe")
app.add_typer(data.app, name="data")
app.add_typer(tokenizer.app, name="tokenizer")
app.command()(plan.plan)
app.add_typer(member.app, name="member")
app.command()(train.train)
app.command()(publish.publish)
app.command()(verify.verify)
app.add_typer(runs.app, name="runs")
app.command()(generate.generate)
app.command()(chat.chat)
tasks.mount(app)
app.command()(serve.serve)
app.command()(serve.detect)
app.command()(export.export)
app.command()(evaluate.evaluate)
app.command("compare-results")(evaluate.compare_results)
app.command()(leaderboard.leaderboard)
app.add_typer(hub.app, name="hub")
app.add_typer(storyworld.app, name="storyworld")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmos {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def welcome(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Build language models together; each member's text stays at home."""
    if context.invoked_subcommand is None:
        typer.echo(WELCOME)


def main() -> None:
    """Run the command line; errors that LLMOS raises on purpose become one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # Text of any language must not stop a command in a terminal that cannot show it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    share_cores()
    try:
        _run()
    except LLMOSError as error:
        _end(" ".join(str(error).split()))
    except OSError as error:
        # What a command writes itself, it guards; without a name it is what was printed.
        if error.filename is not None or error.errno not in _FULL:
            raise
        _end(f"standard output cannot be written ({error.strerror}): send it elsewhere")


def _run() -> None:
    """The command; what it printed is written out before it counts as done."""
    try:
        app()
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
        raise


def _end(message: str) -> NoReturn:
    print("error:", message, file=sys.stderr)
    # What could not be printed is let go; at its end Python would try again, and complain.
    with suppress(io.UnsupportedOperation):  # a stream that is no file, such as a test's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(2)


if __name__ == "__main__":
    main()
