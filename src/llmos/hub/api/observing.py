"""What a hub tells of its requests: a log line each, and counts for Prometheus, where those of
webhooks stand too.

A request is named by its route's template, so that no name of a repository or person and no query
becomes a label; the log has the account's name beside it, but neither address nor content.
"""

from __future__ import annotations

import logging
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("llmos.hub.requests")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
QUIET = ("/health", "/health/ready", "/metrics")  # asked every few seconds: no line each


class Meters:
    """The counts of one hub's requests, and of its webhooks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.requests = Counter(
            "llmos_hub_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=here,
        )
        self.seconds = Histogram(
            "llmos_hub_request_seconds",
            "From a request's first byte to its answer's last",
            ["route"],
            buckets=SECONDS,
            registry=here,
        )
        self.received = Counter(
            "llmos_hub_received_bytes", "Bytes of request bodies", registry=here
        )
        self.sent = Counter("llmos_hub_sent_bytes", "Bytes of answers", registry=here)
        self.running = Gauge("llmos_hub_requests_running", "Being answered now", registry=here)
        self.deliveries = Counter(
            "llmos_hub_webhook_deliveries",
            "Attempts to deliver a webhook: done, retry or failed",
            ["outcome"],
            registry=here,
        )

    def delivered(self, outcome: str) -> None:
        """Count an attempt to deliver a webhook."""
        self.deliveries.labels(outcome).inc()


class Observed:
    """An ASGI application around another that counts and logs its requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.meters = Meters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        state = scope.setdefault("state", {})
        state["meters"] = self.meters
        seen = _Seen()

        async def counted_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                seen.received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            elif message["type"] == "http.response.body":
                seen.sent += len(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        self.meters.running.inc()
        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            self.meters.running.dec()
            self._note(scope, seen, time.perf_counter() - began)

    def _note(self, scope: Scope, seen: _Seen, seconds: float) -> None:
        state, meters = scope["state"], self.meters
        route = state.get("route", "(none)")
        method = scope["method"] if route != "(none)" else "(any)"  # anybody may invent methods
        meters.requests.labels(method, route, str(seen.status)).inc()
        meters.seconds.labels(route).observe(seconds)
        meters.received.inc(seen.received)
        meters.sent.inc(seen.sent)
        if route in QUIET and seen.status < 400:
            return
        about = {
            "request": state.get("id", ""),
            "method": method,
            "route": route,
            "status": seen.status,
            "ms": round(seconds * 1000, 1),
            "received": seen.received,
            "sent": seen.sent,
            "account": state.get("account", ""),
        }
        log.info("request", extra={"about": about})


class _Seen:
    """What has passed of one request. Status 499: the client left before an answer began."""

    __slots__ = ("received", "sent", "status")

    def __init__(self) -> None:
        self.received = self.sent = 0
        self.status = 499
