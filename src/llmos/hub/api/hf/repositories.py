"""Repositories made, deleted, moved, copied, set up: /api/repos/... and settings, duplicate."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import PREFIX_OF, Ask, answer, done
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request, forbidden, unauthorized
from llmos.hub.repos.finding import find_repo
from llmos.hub.repos.making import copy_repo, delete_repo, make_repo, move_repo
from llmos.hub.repos.settings import RepoSettings, change_settings

Kind = Literal["model", "dataset", "space", "run"]
SDKS = ("gradio", "streamlit", "docker", "static")


class Named(BaseModel):
    """A repository named in a body. Without an organisation it is the caller's own; the empty
    organisation stands for short names such as gpt2."""

    model_config = ConfigDict(strict=True)
    name: str = Field(max_length=200)
    organization: str | None = Field(None, max_length=96)
    type: Kind | None = None

    @property
    def kind(self) -> str:
        """The kind of repository; a model where none is said."""
        return self.type or "model"

    def full_name(self, caller: str) -> str:
        """owner/name, or the short name."""
        if "/" in self.name and not self.organization:
            return self.name
        if self.organization == "":
            return self.name
        return f"{self.organization or caller}/{self.name}"


class Visible(BaseModel):
    """Whether a repository is private: `visibility`, or `private` from older clients."""

    model_config = ConfigDict(strict=True)
    visibility: Literal["public", "private"] | None = None
    private: bool | None = None

    @property
    def hidden(self) -> bool | None:
        """True for private, False for public, None where nothing is said."""
        return self.private if self.visibility is None else self.visibility == "private"


class NewRepo(Named, Visible):
    """The body of /api/repos/create."""

    sdk: str | None = Field(None, max_length=40)
    sharing: str = "open"


class Move(BaseModel):
    """The body of /api/repos/move."""

    model_config = ConfigDict(strict=True)
    from_repo: str = Field(validation_alias=AliasChoices("fromRepo"), max_length=200)
    to_repo: str = Field(validation_alias=AliasChoices("toRepo"), max_length=200)
    type: Kind | None = None


class Copy(Visible):
    """The body of .../duplicate."""

    repository: str = Field(max_length=200)


class Settings(Visible):
    """The body of .../settings; what is not said stays as it is."""

    gated: Literal["auto", "manual"] | Literal[False] | None = None
    sharing: Literal["open", "federated", "metadata"] | None = None
    discussions_off: bool | None = Field(
        None, validation_alias=AliasChoices("discussionsDisabled", "discussions_off")
    )


def create(ask: Ask) -> Response:
    """Make a repository, where the caller's role in the organisation of the body allows it; an
    existing one: 409 with its address."""
    body = ask.data
    assert isinstance(body, NewRepo)
    if not ask.caller.known:
        raise unauthorized()
    name, kind = body.full_name(ask.caller.name), body.kind
    files = {}
    if kind == "space":
        if body.sdk not in SDKS:
            raise bad_request(f"sdk {body.sdk}: choose one of {', '.join(SDKS)}")
        title = name.rpartition("/")[2]
        files["README.md"] = f"---\ntitle: {title}\nsdk: {body.sdk}\n---\n".encode()
    try:
        repo = make_repo(
            ask.hub,
            ask.caller,
            kind,
            name,
            private=body.hidden,
            sharing=body.sharing,
            files=files,
        )
    except HubError as error:
        raise _with_address(ask, error, kind, name) from None
    return answer(_made(ask, repo))


def _made(ask: Ask, repo: Row[Any]) -> dict[str, Any]:
    return {"url": ask.address_of(repo), "name": repo.full_name, "id": f"{repo.id:024x}"}


def _with_address(ask: Ask, error: HubError, kind: str, name: str) -> HubError:
    if error.status == 409:
        error.extra["url"] = f"{ask.base}/{PREFIX_OF[kind]}{name}"
    return error


def _owned(ask: Ask, kind: str, name: str) -> Row[Any]:
    """The repository of that name, which the caller must own (OWN)."""
    if not ask.caller.known:
        raise unauthorized()
    repo, right = find_repo(ask.hub, ask.caller, kind, name)
    if right < Right.OWN:
        raise forbidden(f"Only admins of its owner may delete or move {repo.full_name}")
    return repo


def delete(ask: Ask) -> Response:
    """Delete the repository of the body; the caller needs OWN on it."""
    body = ask.data
    assert isinstance(body, Named)
    name = body.full_name(ask.caller.name)
    try:
        repo = _owned(ask, body.kind, name)
    except HubError as error:
        # hub admins name gpt2 without an owner, and may have none of that name of their own
        if error.status != 404 or body.organization or "/" in body.name or not ask.caller.admin:
            raise
        repo = _owned(ask, body.kind, body.name)
    delete_repo(ask.hub, ask.caller, repo)
    return done()


def move(ask: Ask) -> Response:
    """Give the repository of the body another name or owner; the caller needs OWN on it, and a role
    that may make repositories where it goes."""
    body = ask.data
    assert isinstance(body, Move)
    repo = _owned(ask, body.type or "model", body.from_repo)
    moved = move_repo(ask.hub, ask.caller, repo, body.to_repo)
    return answer({"url": ask.address_of(moved), "name": moved.full_name})


def duplicate(ask: Ask) -> Response:
    """Copy a repository to another name, where the caller may make one."""
    body = ask.data
    assert isinstance(body, Copy)
    name = body.repository if "/" in body.repository else f"{ask.caller.name}/{body.repository}"
    try:
        repo = copy_repo(ask.hub, ask.caller, ask.repo, name, private=body.hidden)
    except HubError as error:
        raise _with_address(ask, error, ask.repo.kind, name) from None
    return answer({**_made(ask, repo), "filesCopyPending": False})


def settings(ask: Ask) -> Response:
    """Change who may see the repository, and how."""
    body = ask.data
    assert isinstance(body, Settings)
    wanted = RepoSettings(
        private=body.hidden,
        gated="" if body.gated is False else body.gated,
        sharing=body.sharing,
        discussions_off=body.discussions_off,
    )
    changed = change_settings(ask.hub, ask.caller, ask.repo, wanted)
    if "gated" in changed:
        changed["gated"] = changed["gated"] or False
    if "discussions_off" in changed:
        changed["discussionsDisabled"] = changed.pop("discussions_off")
    return answer(changed)


ROUTES = [
    Route("POST", "/api/repos/create", Need.INSIDE, create, takes=NewRepo),
    Route("DELETE", "/api/repos/delete", Need.INSIDE, delete, takes=Named),
    Route("POST", "/api/repos/move", Need.INSIDE, move, takes=Move),
    Route("POST", "/api/{kind}/{repo}/duplicate", Right.PROPOSE, duplicate, takes=Copy),
    Route("PUT", "/api/{kind}/{repo}/settings", Right.MANAGE, settings, takes=Settings),
]
