"""A running run tells a hub its figures, by round; a finished one, what its log says.

A running one never waits for the hub and never fails by it: what could not be told is told later,
and a hub that is away is mentioned once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from llmos.errors import LLMOSError
from llmos.federation.hub_address import HubAddress, HubAwayError, HubSession
from llmos.records import JSON, read_jsonl

EVERY = 2.0  # seconds between two messages, at least
AGAIN = 30.0  # seconds until a hub that was away is tried again
PATIENCE = 10.0  # seconds that one message may take
MOST = 500  # rounds in one message
MOST_OF_A_LOG = 4000  # points, and as many judgements; a hub takes 20,000 of a run
Points = dict[int, dict[str, float | int]]
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
        self._address = address
        self._say = say
        self._waiting: Points = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._away = False
        self._refused = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="llmos-hub-listener")

    def __call__(self, event: JSON) -> None:
        """Take in one event; those without a round or step say nothing to the hub."""
        for number, values in figures_of(event).items():
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
        try:
            _send(self._session, some)
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


def figures_of(event: JSON) -> Points:
    """The figures that an event of a run tells, by round or step; {} for other events."""
    number = event.get("round", event.get("step"))
    if event.get("event") not in ("round", "steps", "validated") or type(number) is not int:
        return {}
    found = {called: event.get(name) for name, called in FIGURES.items()}
    if found["loss"] is None and event.get("losses"):
        found["loss"] = next(iter(event["losses"].values()))  # the objective's first one
    told = {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    points = {number: told}
    if event["event"] != "round":
        told.pop("tokens", None)  # of some steps, or of all so far: no figure of this one step
    elif "bits_per_byte" in told:
        # What a round begins with is judged during it: it is the outcome of the one before.
        points[number - 1] = {"bits_per_byte": told.pop("bits_per_byte")}
    return {number: values for number, values in points.items() if values}


def tell_log(session: HubSession, log: Path) -> None:
    """Tell the hub what the log of a run says, as if it had been told while the run lasted; of a
    long log an even part. Raises `HubAwayError`, `UsageError`."""
    points: Points = {}
    for event in read_jsonl(log):
        for number, values in figures_of(event).items():
            points.setdefault(number, {}).update(values)
    numbers = sorted(points)
    judged = [number for number in numbers if "bits_per_byte" in points[number]]
    step = max(1, len(numbers) // MOST_OF_A_LOG)
    kept = sorted({*numbers[::step], *judged[-MOST_OF_A_LOG:]})
    for start in range(0, len(kept), MOST):
        _send(session, {number: points[number] for number in kept[start : start + MOST]})


def _send(session: HubSession, points: Points) -> None:
    body = [{"round": number, "values": values} for number, values in points.items()]
    session.done("POST", f"/api/runs/{session.address.name}/progress", json={"points": body})
