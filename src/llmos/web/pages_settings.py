"""The settings of a repository, requests for access, likes, and making a repository."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from llmos.hub.accounts.rights import ROLES, Right
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.repos.likes import set_like
from llmos.hub.repos.making import SHARING, delete_repo, make_repo, move_repo
from llmos.hub.repos.settings import RepoSettings, change_settings
from llmos.hub.runs.planning import plan_run
from llmos.hub.together import access
from llmos.hub.together.notifications import REQUESTS
from llmos.web.collecting import owners_for
from llmos.web.forms import field, ticked
from llmos.web.rendering import LISTS, go_to, page, repo_path, viewer_of
from llmos.web.repo_views import seen, shell

KINDS = ("model", "dataset", "run", "space")


def _address(ask: Ask, *below: str) -> str:
    return repo_path(ask.repo.kind, ask.repo.full_name, *below)


def settings(ask: Ask) -> Response:
    """The forms for those who manage a repository."""
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "settings")
    return page(ask, "repo_settings.html", sharing_pairs=_sharings(ask), **shown)


def _sharings(ask: Ask) -> list[tuple[str, str]]:
    t = viewer_of(ask.hub, ask.request, ask.caller).t
    return [(name, t(f"sharing.{name}")) for name in SHARING]


def change(ask: Ask) -> Response:
    """Change who may see the repository, and how."""
    wanted = RepoSettings(
        private=field(ask, "visibility") == "private",
        gated=field(ask, "gated"),
        sharing=field(ask, "sharing"),
        discussions_off=not ticked(ask, "discussions"),
    )
    change_settings(ask.hub, ask.caller, ask.repo, wanted)
    return go_to(_address(ask, "settings"), "saved")


def move(ask: Ask) -> Response:
    """Give the repository another name; the old one leads to it."""
    name = field(ask, "name").strip()
    move_repo(ask.hub, ask.caller, ask.repo, name)
    return go_to(repo_path(ask.repo.kind, name), "moved")


def delete(ask: Ask) -> Response:
    """Delete the repository, when its name was typed."""
    if field(ask, "name").strip() != ask.repo.full_name:
        raise bad_request(f"Type {ask.repo.full_name} to delete it: nothing was deleted")
    delete_repo(ask.hub, ask.caller, ask.repo)
    return go_to(LISTS[ask.repo.kind], "deleted")


def requests(ask: Ask) -> Response:
    """Who has asked for access."""
    seen(ask, REQUESTS)
    with ask.hub.database.read() as connection:
        shown = shell(ask, connection, "access")
        found = {
            status: access.list_requests(connection, ask.repo, status) for status in access.STATES
        }
    return page(ask, "access.html", requests=found, **shown)


def decide(ask: Ask) -> Response:
    """Let somebody in, or not."""
    with ask.hub.database.write() as connection:
        status, user = field(ask, "status"), field(ask, "user")
        access.decide(connection, ask.caller, ask.repo, status, user=user)
    return go_to(_address(ask, "access"), "saved")


def grant(ask: Ask) -> Response:
    """Let somebody in who has not asked."""
    with ask.hub.database.write() as connection:
        access.grant(connection, ask.caller, ask.repo, field(ask, "user").strip())
    return go_to(_address(ask, "access"), "saved")


def like(ask: Ask) -> Response:
    """The caller likes the repository."""
    set_like(ask.hub, ask.need_account(), ask.repo, True)
    return go_to(_address(ask))


def unlike(ask: Ask) -> Response:
    """The caller likes the repository no longer."""
    set_like(ask.hub, ask.need_account(), ask.repo, False)
    return go_to(_address(ask))


def new(ask: Ask) -> Response:
    """The form for a new repository."""
    return _new(ask)


def _new(ask: Ask, status: int = 200, error: HubError | None = None) -> Response:
    with ask.hub.database.read() as connection:
        owners = owners_for(connection, ask.caller, *ROLES[1:])
    names = ("kind", "owner", "name", "visibility", "sharing", "recipe")
    given: dict[str, Any] = {name: field(ask, name) for name in names}
    t = viewer_of(ask.hub, ask.request, ask.caller).t
    given["kind"] = given["kind"] or ask.query("kind", "model")
    return page(
        ask,
        "new.html",
        status,
        owner_pairs=[(name, name) for name in owners],
        kind_pairs=[(kind, t(f"kind.{kind}.one")) for kind in KINDS],
        sharing_pairs=_sharings(ask),
        given=given,
        error=error,
    )


def create(ask: Ask) -> Response:
    """Make a repository; whether the caller may, in that account, is checked within. What is wrong
    shows the form again."""
    kind, name = field(ask, "kind"), f"{field(ask, 'owner')}/{field(ask, 'name').strip()}"
    if kind not in KINDS:
        raise bad_request(f"kind {kind[:20]}: choose one of {', '.join(KINDS)}")
    private = {"private": True, "public": False}.get(field(ask, "visibility"))
    try:
        if kind == "run":
            plan_run(ask.hub, ask.caller, name, field(ask, "recipe"), private=private)
        else:
            sharing = field(ask, "sharing") or "open"
            if sharing not in SHARING:
                raise bad_request(f"sharing: choose one of {', '.join(SHARING)}")
            make_repo(ask.hub, ask.caller, kind, name, private=private, sharing=sharing)
    except HubError as error:
        if error.status >= 500:
            raise
        return _new(ask, error.status, error)
    return go_to(repo_path(kind, name), "made")


REPO = "/{prefix}/{repo}"
ROUTES = [
    Route("GET", f"{REPO}/settings", Right.MANAGE, settings, page=True),
    Route("POST", f"{REPO}/settings", Right.MANAGE, change, page=True),
    Route("POST", f"{REPO}/settings/move", Right.OWN, move, page=True),
    Route("POST", f"{REPO}/settings/delete", Right.OWN, delete, page=True),
    Route("GET", f"{REPO}/access", Right.MANAGE, requests, page=True),
    Route("POST", f"{REPO}/access/decide", Right.MANAGE, decide, page=True),
    Route("POST", f"{REPO}/access/grant", Right.MANAGE, grant, page=True),
    Route("POST", f"{REPO}/like", Right.PROPOSE, like, page=True),
    Route("POST", f"{REPO}/unlike", Right.PROPOSE, unlike, page=True),
    Route("GET", "/new", Need.WRITING, new, page=True),
    Route("POST", "/new", Need.WRITING, create, page=True),
]
