"""What a running run shows: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from llmos.recipe import Recipe
from llmos.records import JSON

# Off a terminal, rounds are told at most this often.
PLAIN_SECONDS = 5.0


class RunProgress:
    """Listens to the events of a run and shows them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.console = Console(stderr=False)
        self.last = 0.0
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.phase = ""
        self.started = time.monotonic()

    def __enter__(self) -> RunProgress:
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, event: JSON) -> None:
        """Take in one event of the run (see `Coordinator`, `Member`, `Comparison`)."""
        handler = getattr(self, "_on_" + str(event["event"]).replace(" ", "_"), None)
        if handler is not None:
            handler(event)

    def _on_admitted(self, event: JSON) -> None:
        self.say(f"{event['member']}: signed the recipe, admitted")

    def _on_counted(self, event: JSON) -> None:
        report = event["report"]
        stayed = report.get("withheld_pieces", "with noise on all counts,")
        self.say(
            f"{event['member']}: told {report['pieces']} piece counts for the tokenizer "
            f"({report['long_pieces']} pieces of {report['minimum']} or more characters left home; "
            f"{stayed} rare pieces stayed)"
        )

    def _on_prepared(self, event: JSON) -> None:
        self.say(f"model: {event['parameters']:,} parameters; one tokenizer for all")

    def _on_round(self, event: JSON) -> None:
        rounds = self.recipe.rounds.count
        loss = event["loss_nats_per_token"]
        text = "no update" if loss is None else f"loss {loss:.3f} nats/token"
        if event["bits_per_byte"] is not None:
            text += f", held out {event['bits_per_byte']:.3f} bits/byte"
        self._advance("training", text, event["round"], rounds)

    def _on_rejected(self, event: JSON) -> None:
        self.say(f"round {event['round']}: update of {event['member']} rejected: {event['reason']}")

    def _on_selected(self, event: JSON) -> None:
        self.say(f"published: the weights after round {event['round']}")

    def _on_column(self, event: JSON) -> None:
        text = f"{event['column']}, {event['member']}: {event['bits_per_byte']:.3f} bits/byte"
        self._advance("comparing", text, event["done"], event["total"])

    def _advance(self, what: str, text: str, done: int, total: int) -> None:
        if self.bar is not None:
            if self.task is None or self.phase != what:
                if self.task is not None:
                    self.bar.remove_task(self.task)
                self.task, self.phase = self.bar.add_task("", total=total), what
            self.bar.update(self.task, description=f"{what}: {text}", completed=done)
            return
        now = time.monotonic()
        if what == "comparing" or now - self.last >= PLAIN_SECONDS or done == total:
            self.last = now
            seconds = now - self.started
            self.say(f"[{seconds:6.1f} s] {what} {done}/{total}: {text}")


def run_with_progress(
    folder: Path, shown: RunProgress, work: Callable[[Callable[[JSON], None]], object]
) -> None:
    """Do `work(listener)` with progress; Ctrl-C says how to go on (exit code 130)."""
    with shown as progress:
        try:
            work(progress)
        except KeyboardInterrupt:
            began = (folder / "run.json").exists()
            go_on = f"nothing is lost, go on with: llmos train --resume {folder}"
            progress.say(f"\nstopped; {go_on if began else 'the run had not begun'}")
            raise typer.Exit(130) from None
