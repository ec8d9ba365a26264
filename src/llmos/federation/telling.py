"""A running run tells a hub its figures, by round.

It never waits for the hub and never fails by it: what could not be told is told later, and a hub
that is away is mentioned once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType

from llmos.errors import LLMOSError
from llmos.federation.hub_address import HubAddress, HubAwayError, HubSession
from llmos.records import JSON

EVERY = 2.0  # seconds between two messages, at least
AGAIN = 30.0  # seconds until a hub that was away is tried again
PATIENCE = 10.0  # seconds that one message may take
MOST = 500  # rounds in one message
FIGURES = {
    "loss_nats_per_token": "loss",
    "bits_per_byte": "bits_per_byte",
    "tokens": "tokens",
    "tokens_per_second": "tokens_per_second",
    "learning_rate": "learning_rate",
}
"""Figures of a run's events, and what the hub calls them."""


class HubListener:
    """Listens to a run's events and tells the hub. Use it in a `with` block around the run.

    `say` is given one line when the hub is away, and one when it is back.
    """

    def __init__(self, address: HubAddress, token: str, say: Callable[[str], None]) -> None:
        self._session = HubSession(address, token, PATIENCE)
        self._path = f"/api/runs/{address.name}/progress"
        self._address = address
        self._say = say
        self._waiting: dict[int, dict[str, float | int]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._away = False
        self._refused = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="llmos-hub-listener")

    def __call__(self, event: JSON) -> None:
        """Take in one event; those without a round or step say nothing to the hub."""
        number = event.get("round", event.get("step"))
        if event["event"] not in ("round", "steps", "validated") or type(number) is not int:
            return
        values = _figures(event)
        if values:
            with self._lock:
                self._waiting.setdefault(number, {}).update(values)

    def __enter__(self) -> HubListener:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(PATIENCE * 2)
        self._session.__exit__()

    def _run(self) -> None:
        while not self._ended.wait(AGAIN if self._away else EVERY):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            some = dict(sorted(self._waiting.items())[:MOST])
        if not some or self._refused:
            return
        points = [{"round": number, "values": values} for number, values in some.items()]
        try:
            self._session.done("POST", self._path, json={"points": points})
        except HubAwayError as error:
            if not self._away:
                self._say(f"{error}; the run goes on, and its progress is told later")
            self._away = True
            return
        except LLMOSError as error:
            self._refused = True
            self._say(f"{error}; the run goes on, its progress is not told")
            return
        if self._away:
            self._say(f"{self._address.endpoint} is back")
        self._away = False
        with self._lock:
            for number, values in some.items():
                if self._waiting.get(number) == values:
                    del self._waiting[number]


def _figures(event: JSON) -> dict[str, float | int]:
    found = {called: event.get(name) for name, called in FIGURES.items()}
    if found["loss"] is None and event.get("losses"):
        found["loss"] = next(iter(event["losses"].values()))  # the objective's first one
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
