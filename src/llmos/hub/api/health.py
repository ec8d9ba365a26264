"""GET /health: the process lives; /health/ready: it can do its work; /metrics: for Prometheus."""

from __future__ import annotations

import os
import threading
import time
from ipaddress import ip_address

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select
from sqlalchemy.pool import QueuePool
from starlette.responses import Response

from llmos import __version__
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, audit, blobs, repos
from llmos.hub.errors import HubError, forbidden
from llmos.hub.hub import Hub

COUNT_EVERY = 60  # seconds for which counts of whole tables are kept


def live(ask: Ask) -> Response:
    """The process answers."""
    return answer({"status": "ok", "version": __version__})


def ready(ask: Ask) -> Response:
    """The database and the storage answer: 200, or 503 with what does not."""
    checks = {"database": _tried(_database, ask.hub), "storage": _tried(_storage, ask.hub)}
    good = all(value == "ok" for value in checks.values())
    return answer({"status": "ok" if good else "not ready", **checks}, 200 if good else 503)


def _tried(check: object, hub: Hub) -> str:
    assert callable(check)
    try:
        check(hub)
    except HubError as error:
        return error.message
    except Exception as error:  # whatever a store raises, the answer is that it is not ready
        return type(error).__name__
    return "ok"


def _database(hub: Hub) -> None:
    with hub.database.read() as connection:
        connection.execute(select(1))


def _storage(hub: Hub) -> None:
    hub.blobs.size("0" * 64)
    with hub.staged() as staged:  # uploads are written here first
        staged.write(b"ready")
        staged.flush()  # a full disk shows only now


def metrics(ask: Ask) -> Response:
    """Counts for Prometheus; no names of people or repositories. Needs: asked from this machine
    itself, not through a proxy, or with a token of an admin of the hub (one for reading is
    enough)."""
    if not (_from_here(ask) or _admin(ask)):
        raise forbidden("Metrics are for this machine itself, and for tokens of the hub's admins")
    text = generate_latest(_of_hub(ask.hub))
    meters = getattr(ask.request.state, "meters", None)
    if meters is not None:
        text += generate_latest(meters.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _from_here(ask: Ask) -> bool:
    client = ask.request.client
    if client is None or {"forwarded", "x-forwarded-for"} & set(ask.request.headers):
        return False
    try:
        return ip_address(client.host).is_loopback
    except ValueError:
        return False


def _admin(ask: Ask) -> bool:
    if ask.caller.id is None:
        return False
    with ask.hub.database.read() as connection:
        of = select(accounts.c.admin).where(accounts.c.id == ask.caller.id)
        return bool(connection.execute(of).scalar())


def _of_hub(hub: Hub) -> CollectorRegistry:
    registry = CollectorRegistry()

    def show(name: str, about: str, value: float) -> None:
        Gauge(f"llmos_hub_{name}", about, registry=registry).set(value)

    counts = _counts.of(hub)
    show("blobs", "Blobs kept", counts["blobs"])
    show("blob_bytes", "Bytes of blobs kept", counts["bytes"])
    show("damaged_blobs", "Blobs found damaged", counts["damaged"])
    show("repositories", "Repositories", counts["repos"])
    show("audit_entries", "Number of the newest entry of the audit log", counts["audit"])
    show("resident_bytes", "Memory of the process", _resident())
    pool = hub.database.engine.pool
    if isinstance(pool, QueuePool):
        show("database_connections_used", "Database connections in use", pool.checkedout())
        show("database_connections_most", "Database connections at most", hub.settings.threads * 2)
    return registry


class _Counts:
    """Counts of whole tables, kept for a while: many scrapers must not count them all the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, int]]] = {}

    def of(self, hub: Hub) -> dict[str, int]:
        """The counts of this hub, at most a minute old."""
        with self._lock:
            at, kept = self._kept.get(hub.database.url, (-COUNT_EVERY, {}))
            if time.monotonic() - at > COUNT_EVERY or not kept:
                kept = _counted(hub)
                self._kept = {hub.database.url: (time.monotonic(), kept)}
            return kept


_counts = _Counts()


def _counted(hub: Hub) -> dict[str, int]:
    with hub.database.read() as connection:

        def one(query: object) -> int:
            return int(connection.execute(query).scalar() or 0)  # type: ignore[call-overload]

        return {
            "blobs": one(select(func.count()).select_from(blobs)),
            "bytes": one(select(func.sum(blobs.c.size))),
            "damaged": one(
                select(func.count()).select_from(blobs).where(blobs.c.state == "damaged")
            ),
            "repos": one(select(func.count()).select_from(repos)),
            "audit": one(select(func.max(audit.c.number))),
        }


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        return 0


ROUTES = [
    Route("GET", "/health", Need.PUBLIC, live),
    Route("GET", "/health/ready", Need.PUBLIC, ready),
    Route("GET", "/metrics", Need.INSIDE, metrics),
]
