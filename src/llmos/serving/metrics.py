"""What the server counts, for Prometheus. No text and no key is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llmos.models.engines.engine import Engine

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One server's, in a registry of its own."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "llmos_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.prompt_tokens = Counter(
            "llmos_prompt_tokens", "Tokens read.", ["model"], registry=registry
        )
        self.new_tokens = Counter(
            "llmos_new_tokens", "Tokens written.", ["model"], registry=registry
        )
        self.first = Histogram(
            "llmos_first_piece_seconds",
            "From a request to the first of its text.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.whole = Histogram(
            "llmos_text_seconds",
            "From a request to the end of its text.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        running = Gauge("llmos_running", "Texts being written.", ["model"], registry=registry)
        waiting = Gauge("llmos_waiting", "Texts that wait.", ["model"], registry=registry)
        for name, engine in engines.items():
            if hasattr(engine, "running"):
                running.labels(name).set_function(_reader(engine, "running"))
                waiting.labels(name).set_function(_reader(engine, "waiting"))

    def page(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


def _reader(engine: Any, name: str) -> Any:
    return lambda: getattr(engine, name)


class Counting:
    """Middleware that counts answers by path and status."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "other")
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)
