"""Pages from templates, with the headers that keep them harmless.

No page runs a script, loads anything from elsewhere or may be framed: the Content-Security-Policy
says so to the browser.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from llmos.hub.accounts.rights import Caller
from llmos.hub.api.asking import Ask
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub
from llmos.hub.together.notifications import count_unread
from llmos.web import words
from llmos.web.i18n import LANGUAGES, Texts, choose_language, texts

LANGUAGE_COOKIE = "llmos_lang"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/", "run": "runs/"}
LISTS = {"model": "/models", "dataset": "/datasets", "space": "/spaces", "run": "/runs"}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page, and in which language."""

    hub: Hub
    request: Request
    caller: Caller
    t: Texts

    def address(self, **changed: object) -> str:
        """This page's address with some parameters changed; None takes one out."""
        path = raw_path(self.request)
        items = [i for i in self.request.query_params.multi_items() if i[0] not in changed]
        items += [(name, str(value)) for name, value in changed.items() if value is not None]
        query = urlencode([pair for pair in items if pair[0] != "done"])
        return path + (f"?{query}" if query else "")


def raw_path(request: Request) -> str:
    """The path of a request as it was sent, with its escapes."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return raw.decode("latin-1").split("?")[0]


def viewer_of(hub: Hub, request: Request, caller: Caller) -> Viewer:
    """The viewer of a request."""
    language = choose_language(
        request.query_params.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language", ""),
    )
    return Viewer(hub, request, caller, texts(language))


def page(ask: Ask, template: str, status: int = 200, /, **values: Any) -> Response:
    """A page for who asks."""
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    return render(viewer, template, status, base=ask.base, **values)


def render(viewer: Viewer, template: str, status: int = 200, /, **values: Any) -> Response:
    """A page from a template of templates/."""
    done = viewer.request.query_params.get("done", "")
    html = environment().get_template(template).render(
        viewer=viewer,
        me=viewer.caller,
        t=viewer.t,
        hub_name=viewer.hub.settings.name,
        languages=LANGUAGES,
        ago=lambda at: words.ago(viewer.t, at),
        unread=_unread(viewer),
        done=viewer.t.known(f"done.{done}") if done else "",
        **values,
    )  # fmt: skip
    response = Response(html, status, media_type="text/html; charset=utf-8")
    response.headers.update(
        {
            "Content-Security-Policy": POLICY,
            "Content-Language": viewer.t.html_code,
            "Cache-Control": "no-store" if viewer.caller.known else "private, no-cache",
            "Referrer-Policy": "same-origin",
            "Vary": "Accept-Language, Cookie",
            "X-Frame-Options": "DENY",
        }
    )
    if viewer.request.query_params.get("lang") == viewer.t.language:
        response.set_cookie(
            LANGUAGE_COOKIE, viewer.t.language, max_age=31536000, samesite="lax", path="/"
        )
    return response


def _unread(viewer: Viewer) -> int:
    """How many notifications wait for who has signed in. An error's page is shown also when the
    database does not answer."""
    caller = viewer.caller
    if not caller.session:
        return 0
    try:
        return viewer.hub.memory.read(
            ("unread notifications", caller.id),
            lambda connection: count_unread(connection, caller),
        )
    except HubError:
        return 0


def go_to(path: str, done: str = "") -> Response:
    """The answer to a form: look at `path`, which says that `done` (a key of done.*) happened."""
    path, mark, fragment = path.partition("#")
    if done:
        path += ("&" if "?" in path else "?") + urlencode({"done": done})
    return RedirectResponse(path + mark + fragment, 303)


def repo_path(kind: str, full_name: str, *below: str) -> str:
    """The address of a repository's page; `below` are further segments, quoted here."""
    parts = [f"/{PREFIX[kind]}{quote(full_name)}", *(quote(part, safe="") for part in below)]
    return "/".join(parts)


def file_path(kind: str, full_name: str, what: str, revision: str, path: str = "") -> str:
    """The address of a file or folder: `what` is tree, blob, raw or resolve."""
    start = repo_path(kind, full_name, what, revision)
    return f"{start}/{quote(path)}" if path else start


@cache
def environment() -> jinja2.Environment:
    """The templates, with all that is written into them escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("llmos.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {
        "repo_path": repo_path,
        "file_path": file_path,
        "lists": LISTS,
        "static": static_address,
        "short": words.short,
        "size": words.size,
        "day": words.day,
    }
    made.filters |= {
        "language_name": lambda code, t: t.language_name(code),
        "tint": lambda name: sum(map(ord, name.lower())) % 6,
    }
    return made


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """The files of static/ by name: content and the start of its sha256."""
    folder = files("llmos.web").joinpath("static")
    read = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    return {name: (data, hashlib.sha256(data).hexdigest()[:12]) for name, data in read.items()}


def static_address(name: str) -> str:
    """The address of a file of static/; it changes with the content, so it may be kept for ever."""
    return f"/static/{static_files()[name][1]}/{name}"
