"""What a run alone shows while it trains: one line of figures, on a terminal with a bar."""

from __future__ import annotations

import time

from llmos.cli.progress import PLAIN_SECONDS, RunProgress
from llmos.records import JSON


class AloneProgress(RunProgress):
    """Listens to the events of `training.alone` and shows them."""

    def _on_prepared(self, event: JSON) -> None:
        text = f"model: {event['parameters']:,} parameters"
        if event["trained"] != event["parameters"]:
            text += f", {event['trained']:,} of them trained"
        self.say(text)

    def _on_resumed(self, event: JSON) -> None:
        self.say(f"going on from the checkpoint of step {event['step']}")

    def _on_warning(self, event: JSON) -> None:
        self.say(f"warning: {event['text']}")

    def _on_steps(self, event: JSON) -> None:
        self._advance("training", figures(event), event["step"], event["total"])

    def _on_validated(self, event: JSON) -> None:
        bits = event["bits_per_byte"]
        shown = "no number" if bits is None else f"{bits:.4f} bits/byte"
        is_end = event["step"] in (0, event["total"])
        if self.bar is None and not is_end and time.monotonic() - self.last < PLAIN_SECONDS:
            return
        self.say(f"step {event['step']}: held out {shown}")

    def _on_selected(self, event: JSON) -> None:
        self.say(f"chosen: the weights after step {event['step']}")


def figures(event: JSON) -> str:
    """The live line: loss, speed, use of the machine, memory; the time left off a bar."""
    loss, bits = event["loss"], event["bits_per_byte"]
    parts = ["loss " + ("not finite" if loss is None else f"{loss:.4f} nats/token")]
    if loss is not None and len(event["losses"]) > 1:
        each = ", ".join(f"{name} {value:.4f}" for name, value in event["losses"].items())
        parts[0] += f" ({each})"
    if bits is not None:
        parts.append(f"{bits:.3f} bits/byte")
    parts += [
        f"{event['tokens_per_second']:,.0f} tokens/s",
        f"{event['utilisation']:.0%} of the matmul rate",
        f"{event['memory_bytes'] / 2**30:.1f} GiB",
        f"{_clock(event['eta_seconds'])} left",
    ]
    if event["skipped"]:
        parts.append(f"{event['skipped']} step(s) skipped")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
