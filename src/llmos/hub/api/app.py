"""The hub as an ASGI application: finds the route, the caller and the repository, checks the right,
runs the function, turns errors into answers."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from llmos.hub.accounts.rights import Caller, Right
from llmos.hub.api.asking import Ask
from llmos.hub.api.authentication import caller_of
from llmos.hub.api.routing import Match, Need, Route, Router
from llmos.hub.errors import HubError, forbidden, unauthorized
from llmos.hub.hub import Hub
from llmos.hub.repos.finding import find_repo

log = logging.getLogger("llmos.hub")
SAFE = ("GET", "HEAD")
ErrorPage = Callable[[Hub, Request, HubError], Response]


class HubApp:
    """The application. `routes` is the whole surface: see `llmos.hub.api.surface`."""

    def __init__(
        self, hub: Hub, routes: Iterable[Route], error_page: ErrorPage | None = None
    ) -> None:
        """`error_page` shows errors of routes that are pages; without it they are JSON too."""
        self.hub = hub
        self.router = Router(routes)
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        request = Request(scope, receive)
        request.state.id = secrets.token_hex(8)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        response.headers.setdefault("X-Request-Id", request.state.id)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        match: Match | None = None
        try:
            raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
            found = self.router.find(request.method, raw.decode("latin-1").split("?")[0])
            if isinstance(found, set):
                raise _no_route(request.method, found)
            match = found
            return await self._answer(request, found)
        except HubError as error:
            return self._error(request, match, error)
        except Exception:
            log.exception("request %s failed", request.state.id)
            sorry = HubError(500, f"The hub failed at this; its log says why: {request.state.id}")
            return self._error(request, match, sorry)

    def _error(self, request: Request, match: Match | None, error: HubError) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if self._error_page and (match.route.page if match else wants_page):
            return self._error_page(self.hub, request, error)
        return error_response(error)

    async def _answer(self, request: Request, match: Match) -> Response:
        streams = inspect.iscoroutinefunction(match.route.answer)
        body = b""
        if not streams and request.method not in SAFE:
            body = await read_body(request, self.hub.settings.request_limit)

        def prepared() -> Ask | Response:
            ask = Ask(self.hub, request, match, caller_of(self.hub, request), body)
            if match.kind:
                moved = self._find_repo(ask)
                if moved is not None:
                    return moved
            _check(ask)
            if match.route.takes is not None:
                ask.data = _validated(ask)
            return ask

        def run() -> Response:
            ask = prepared()
            return match.route.answer(ask) if isinstance(ask, Ask) else ask

        if not streams:
            return await run_in_threadpool(run)
        ask = await run_in_threadpool(prepared)
        return await match.route.answer(ask) if isinstance(ask, Ask) else ask

    def _find_repo(self, ask: Ask) -> Response | None:
        """Put the repository that the path names, and the right to it, into `ask`; an old name in
        a request that only reads is redirected to the new one."""
        values = ask.match.values
        if "name" not in values:
            return None
        name = values["name"]
        asked = f"{values['owner']}/{name}" if "owner" in values else name
        row, right = find_repo(ask.hub, ask.caller, ask.match.kind, asked)
        ask.repo_row, ask.right = row, right
        if row.full_name != asked and ask.request.method in SAFE:
            raw = ask.request.scope["raw_path"].decode().split("?")[0]
            new = raw.replace(f"/{quote(asked)}", f"/{quote(row.full_name)}", 1)
            if new != raw:
                query = ask.request.scope["query_string"].decode()
                return RedirectResponse(new + (f"?{query}" if query else ""), 307)
        return None


def _check(ask: Ask) -> None:
    """Raise unless the caller holds the right that the route names."""
    needs, caller = ask.match.route.needs, ask.caller
    if isinstance(needs, Right):
        if ask.right < needs:
            raise _refusal(ask, needs)
    elif needs == Need.ADMIN and not (caller.admin and caller.may_write):
        raise forbidden("Only admins of this hub may do that") if caller.known else unauthorized()
    elif needs in (Need.SIGNED_IN, Need.WRITING) and not caller.known:
        raise unauthorized()
    elif needs == Need.WRITING and not caller.may_write:
        raise forbidden("This token is for reading only: use one that may write")
    if caller.session and ask.request.method not in SAFE:
        _check_csrf(ask, caller)


def _check_csrf(ask: Ask, caller: Caller) -> None:
    """A form sent with a session's cookie must carry that session's CSRF token: another site can
    make a browser send the cookie, but cannot read the token."""
    sent = ask.request.headers.get("x-csrf-token") or next(iter(ask.form().get("csrf", [])), "")
    if not secrets.compare_digest(sent.encode(), caller.csrf.encode()):
        raise forbidden("The form has expired: open the page again and send it once more")


def _refusal(ask: Ask, needs: Right) -> HubError:
    repo, caller = ask.repo, ask.caller
    if needs == Right.CONTENT or (needs == Right.PROPOSE and ask.right < Right.CONTENT):
        if repo.sharing != "open":
            return HubError(
                403 if caller.known else 401,
                f"The data of {repo.full_name} stay with its owner ({repo.sharing} sharing): take "
                "part in a joint run, or ask the owner",
                "GatedRepo",
            )
        return HubError(
            403 if caller.known else 401,
            f"Access to {repo.kind} {repo.full_name} is restricted and you are not in the "
            f"authorized list. Visit {ask.address_of(repo)} to ask for access.",
            "GatedRepo",
        )
    if not caller.known:
        return unauthorized("Invalid username or password.")
    if not caller.may_write:
        return forbidden("This token is for reading only: use one that may write")
    return forbidden(
        f"You don't have write access to {repo.full_name}: {needs.name.lower()} is not among your "
        "rights. Make sure that you have the role and your token the correct permissions"
    )


def _no_route(method: str, allowed: set[str]) -> HubError:
    if allowed:
        return HubError(
            405, f"{method} is not for this address", headers={"Allow": ", ".join(sorted(allowed))}
        )
    return HubError(404, "There is nothing at this address")


def _validated(ask: Ask) -> Any:
    model = ask.match.route.takes
    assert model is not None
    try:
        return model.model_validate(ask.json())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise HubError(400, f"{where}: {first['msg']}") from None


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises `HubError` 413 above `limit` bytes."""
    pieces, size = [], 0
    too_large = HubError(413, f"The body is over {limit:,} bytes: send large files as LFS")
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


def error_response(error: HubError) -> Response:
    """The answer that tells an error, with the headers that huggingface_hub reads."""
    line = error.message.replace("\n", " ")
    headers = {"X-Error-Message": line.encode("latin-1", "replace").decode("latin-1")}
    headers |= error.headers
    if error.code:
        headers["X-Error-Code"] = error.code
    body = orjson.dumps({"error": error.message, **error.extra})
    return Response(body, error.status, headers, "application/json")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
