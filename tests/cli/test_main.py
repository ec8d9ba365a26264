"""The `llmos` command as a process: exit codes, one-line errors, a quick start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import llmos
from llmos.cli import main as cli

SOURCE = Path(llmos.__file__).parent.parent


def llmos_command(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `llmos ARGUMENTS` (or Python `code`) in a process of its own."""
    start = ["-c", code] if code else ["-m", "llmos.cli.main"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    result = llmos_command("recipe", "check", "no\nsuch.toml")
    assert result.returncode == 2 and result.stdout == ""
    assert re.fullmatch(r"error: .*no.nsuch\.toml.* does not exist: .*\n", result.stderr)


def test_a_wrong_command_is_exit_code_2_without_a_traceback() -> None:
    for arguments in (["nonsense"], ["recipe", "nonsense"], ["--nonsense"], ["recipe", "check"]):
        result = llmos_command(*arguments)
        assert result.returncode == 2 and "Traceback" not in result.stderr


def test_the_bare_command_says_what_comes_first() -> None:
    result = llmos_command()
    assert result.returncode == 0
    for command in ("storyworld write", "recipe new", "train", "runs", "verify", "generate"):
        assert f"llmos {command}" in result.stdout


def test_version_and_help() -> None:
    assert llmos_command("--version").stdout == f"llmos {llmos.__version__}\n"
    for help_option in ("--help", "-h"):
        assert "recipe" in llmos_command(help_option).stdout


def test_starting_loads_no_heavy_library() -> None:
    result = llmos_command(
        code="import sys, llmos.cli.main; print(*sys.modules)",
    )
    modules = set(result.stdout.split())
    assert "llmos.cli.recipe" in modules
    assert not modules & {"torch", "transformers", "tokenizers", "numpy", "cryptography"}


def test_an_interrupt_is_exit_code_130() -> None:
    result = llmos_command(
        "recipe",
        "keys",
        code=(
            "import os, signal\n"
            "from llmos.cli import main, recipe\n"
            "recipe.keys_markdown = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
            "main.main()"
        ),
    )
    assert result.returncode == 128 + signal.SIGINT and "Traceback" not in result.stderr


def test_an_interrupt_while_the_commands_are_loaded_is_as_quiet() -> None:
    result = llmos_command(
        code=(
            "import sys\n"
            "class Interrupted:\n"
            "    def find_spec(self, name, *rest):\n"
            "        if name == 'llmos.cli.recipe': raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Interrupted())\n"
            "from llmos.__main__ import main\n"
            "main()"
        ),
    )
    assert (result.returncode, result.stderr) == (128 + signal.SIGINT, "")


def test_the_entry_loads_nothing_before_it_can_answer_an_interrupt() -> None:
    loaded = llmos_command(code="import sys, llmos.__main__; print(*sys.modules)").stdout.split()
    assert not {"typer", "llmos.cli", "llmos.errors"} & set(loaded)


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    # `llmos recipe keys | true`: the reading end is closed before anything is written.
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "llmos.cli.main", "recipe", "keys"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            check=False,
        )
    finally:
        os.close(writing)
    assert result.returncode == 1 and result.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full device")
def test_a_full_standard_output_is_one_line_and_exit_code_2() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "llmos", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 2
    assert result.stderr.startswith("error: standard output cannot be written (No space left")
    assert result.stderr.count("\n") == 1


def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\ndescription = "配方"\n')
    result = subprocess.run(
        [sys.executable, "-m", "llmos.cli.main", "recipe", "show", str(path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert result.returncode == 0 and rb"\u914d\u65b9" in result.stdout


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["llmos", "recipe", "keys"])
    monkeypatch.setattr("llmos.cli.recipe.keys_markdown", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main()
