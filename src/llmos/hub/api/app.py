"""The hub as an ASGI application: finds the route, the caller and the repository, checks the right,
runs the function, turns errors into answers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from llmos.hub.api.answers import error_response, send_answer
from llmos.hub.api.asking import Ask
from llmos.hub.api.authentication import caller_of
from llmos.hub.api.bodies import SMALL, Memory, declared_size, patient, read_body
from llmos.hub.api.limits import check_address, check_rate
from llmos.hub.api.permission import check_right, check_sender
from llmos.hub.api.routing import SAFE, Match, Need, Route, Router
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.repos.finding import find_repo

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
log = logging.getLogger("llmos.hub")
ErrorPage = Callable[[Hub, Request, HubError], Response]
BODIES_AT_ONCE = 8  # bodies of the greatest size that memory has room for


class HubApp:
    """The application. `routes` is the whole surface: see `llmos.hub.api.surface`."""

    def __init__(
        self, hub: Hub, routes: Iterable[Route], error_page: ErrorPage | None = None
    ) -> None:
        """`error_page` shows errors of routes that are pages; without it they are JSON too."""
        self.hub = hub
        self.router = Router(routes)
        self._error_page = error_page
        self._memory = Memory(BODIES_AT_ONCE * hub.settings.request_limit)
        self._threads = ThreadPoolExecutor(hub.settings.threads, "hub")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] != "http":
            raise RuntimeError("the hub speaks HTTP only")
        receive = patient(receive)
        request = Request(scope, receive)
        request.state.id = _request_id(request)
        request.state.router = self.router  # for openapi.json, which is about all routes
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await send_answer(request, response, scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        match: Match | None = None
        try:
            check_address(request)
            raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
            found = self.router.find(request.method, raw.decode("latin-1").split("?")[0])
            if isinstance(found, set):
                raise _no_route(request.method, found)
            match = found
            request.state.route = found.route.template  # for the log and the metrics
            response: Response = await self._answer(request, found)
            return response
        except HubError as error:
            sorry = error
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("request %s failed", request.state.id)
            sorry = HubError(500, f"The hub failed at this; its log says why: {request.state.id}")
        if self._error_page and _wants_page(request, match):
            told: Response = await self._in_thread(self._error_page, self.hub, request, sorry)
            return told
        return error_response(sorry)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._threads.shutdown(wait=False)
                return

    async def _answer(self, request: Request, match: Match) -> Any:
        """A small body is read first, so that one thread does all the rest; a large one only when
        it is known that the caller may send it. A coroutine function reads the body itself."""
        streams = inspect.iscoroutinefunction(match.route.answer)
        taken: list[int] = []

        async def body_within(limit: int) -> bytes:
            return await read_body(request, limit, self._memory, taken)

        try:
            if streams:
                ask = await self._in_thread(self._prepared, request, match, b"")
                return await match.route.answer(ask) if isinstance(ask, Ask) else ask
            size = 0 if request.method in SAFE else declared_size(request)
            if size is not None and size <= SMALL:
                body = await body_within(SMALL) if size else b""
                return await self._in_thread(self._done, request, match, body)
            ask = await self._in_thread(self._admitted, request, match)
            if not isinstance(ask, Ask):
                return ask
            ask.body = await body_within(self.hub.settings.request_limit)
            return await self._in_thread(lambda: match.route.answer(_checked(ask)))
        finally:
            self._memory.held -= sum(taken)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def _done(self, request: Request, match: Match, body: bytes) -> Any:
        ask = self._prepared(request, match, body)
        return match.route.answer(ask) if isinstance(ask, Ask) else ask

    def _prepared(self, request: Request, match: Match, body: bytes) -> Ask | Response:
        ask = self._admitted(request, match)
        if isinstance(ask, Ask):
            ask.body = body
            _checked(ask)
        return ask

    def _admitted(self, request: Request, match: Match) -> Ask | Response:
        """What is asked, by whom, with the right to it: all that can be said without the body."""
        ask = Ask(self.hub, request, match)
        try:
            if match.route.needs != Need.SIGNED:  # there the header may be another's token
                ask.caller = caller_of(self.hub, request)
        finally:
            check_rate(self.hub, request, ask.caller)  # wrong tokens count as well
        request.state.account = ask.caller.name
        if match.repo_at >= 0:
            moved = self._find_repo(ask)
            if moved is not None:
                return moved
        check_right(ask)
        return ask

    def _find_repo(self, ask: Ask) -> Response | None:
        """Put the repository that the path names, and the right to it, into `ask`; an old name in
        a request that only reads is redirected to the new one."""
        values = ask.match.values
        name = values["name"]
        asked = f"{values['owner']}/{name}" if "owner" in values else name
        row, right = find_repo(self.hub, ask.caller, ask.match.kind, asked)
        ask.repo_row, ask.right = row, right
        if row.full_name != asked and ask.request.method in SAFE:
            query = ask.request.scope["query_string"].decode("latin-1")
            new = ask.match.renamed(row.full_name)
            return RedirectResponse(new + (f"?{query}" if query else ""), 307)
        return None


def _wants_page(request: Request, match: Match | None) -> bool:
    if match is not None:
        return match.route.page
    return "text/html" in request.headers.get("accept", "")


def _checked(ask: Ask) -> Ask:
    """The same, when the body may be acted on; what the route takes of it is in `data`."""
    check_sender(ask)
    model = ask.match.route.takes
    if model is not None:
        try:
            ask.data = model.model_validate(ask.json())
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:200] or "body"
            raise HubError(400, f"{where}: {first['msg']}") from None
    return ask


def _no_route(method: str, allowed: set[str]) -> HubError:
    if allowed:
        return HubError(
            405,
            f"{method[:20]} is not for this address",
            headers={"Allow": ", ".join(sorted(allowed))},
        )
    return HubError(404, "There is nothing at this address")


def _request_id(request: Request) -> str:
    """The client's name for the request, by which its user finds it in the log; else a new one."""
    given = request.headers.get("x-request-id") or request.headers.get("x-amzn-trace-id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
