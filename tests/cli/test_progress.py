"""What a running run shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console

from llmos.cli.progress import RunProgress, run_with_progress
from llmos.recipe import Recipe

RECIPE = Recipe(name="x").with_values({"rounds.count": 4})


def events(progress: RunProgress) -> None:
    """The events of a short run."""
    with progress:
        progress({"event": "admitted", "member": "anna"})
        progress({"event": "an event of a later version"})
        for number in range(1, 5):
            progress(
                {
                    "event": "round",
                    "round": number,
                    "loss_nats_per_token": None if number == 1 else 2.5,
                    "bits_per_byte": 1.25 if number == 2 else None,
                }
            )
        progress({"event": "rejected", "round": 2, "member": "ben", "reason": "value 1 is [nan]"})
        for done in (1, 2):
            progress(
                {"event": "column", "column": "alone", "member": "a", "bits_per_byte": 3.0,
                 "done": done, "total": 2}
            )  # fmt: skip


def test_plain_lines_are_rare_but_the_last_round_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress, out = RunProgress(RECIPE), io.StringIO()
    progress.console = Console(file=out, width=200)
    events(progress)
    lines = out.getvalue().splitlines()
    assert lines == [
        "anna: signed the recipe, admitted",
        "[   0.0 s] training 1/4: no update",
        "[   0.0 s] training 4/4: loss 2.500 nats/token",
        "round 2: update of ben rejected: value 1 is [nan]",
        "[   0.0 s] comparing 1/2: alone, a: 3.000 bits/byte",
        "[   0.0 s] comparing 2/2: alone, a: 3.000 bits/byte",
    ]


def test_a_terminal_gets_a_bar_of_each_kind() -> None:
    progress, out = RunProgress(RECIPE), io.StringIO()
    progress.console = Console(file=out, width=200, force_terminal=True)
    events(progress)
    text = out.getvalue()
    assert "comparing: alone, a: 3.000 bits/byte" in text and "2/2" in text
    assert "anna: signed the recipe, admitted" in text


def test_an_interrupt_tells_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(listener: object) -> None:
        raise KeyboardInterrupt

    for exists, words in ((False, "had not begun"), (True, f"llmos train --resume {tmp_path}")):
        if exists:
            (tmp_path / "run.json").touch()
        with pytest.raises(typer.Exit) as caught:
            run_with_progress(tmp_path, RunProgress(RECIPE), work)
        assert caught.value.exit_code == 130
        assert words in capsys.readouterr().out.replace("\n", "")


def test_another_error_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_with_progress(tmp_path, RunProgress(RECIPE), lambda listener: 1 / 0)
