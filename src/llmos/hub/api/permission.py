"""Whether the caller may ask what is asked: the right that the route names, and where forms sent by
browsers come from."""

from __future__ import annotations

import secrets

from llmos.hub.accounts.profiles import active_account
from llmos.hub.accounts.rights import ROLES, Right, role_in
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import SAFE, Need
from llmos.hub.errors import HubError, forbidden, unauthorized

READ_ONLY = "This token is for reading only: use one that may write"


def check_right(ask: Ask) -> None:
    """Raise `HubError` 401 or 403 unless the caller holds the right that the route names."""
    needs, caller = ask.match.route.needs, ask.caller
    if isinstance(needs, Right):
        return need_right(ask, needs)
    if needs in (Need.PUBLIC, Need.SIGNED, Need.INSIDE):
        return
    if not caller.known:
        raise unauthorized()
    if needs == Need.SIGNED_IN:
        return
    if needs == Need.ORG_MEMBER or needs == Need.ORG_ADMIN:
        with ask.hub.database.read() as connection:
            ask.org_row = active_account(connection, ask.value("org"), "org")
        role = role_in(caller, ask.org_row.id)
        if role is None or (needs == Need.ORG_ADMIN and role != ROLES[-1]):
            who = "admins" if needs == Need.ORG_ADMIN else "members"
            raise forbidden(f"Only {who} of {ask.org_row.name} may do that")
        if needs == Need.ORG_MEMBER:
            return
    if needs == Need.ADMIN and not caller.admin:
        raise forbidden("Only admins of this hub may do that")
    if needs == Need.SESSION and not caller.session:
        raise forbidden("Sign in with a browser to do that: a token does not do")
    if not caller.may_write:
        raise forbidden(READ_ONLY)
    if not caller.whole:
        raise forbidden("This token is for some repositories only: use one of scope write")


def need_right(ask: Ask, right: Right) -> None:
    """Raise `HubError` 401 or 403 unless the caller holds this right on the repository."""
    if ask.right < right:
        raise _refusal(ask, right)


def check_sender(ask: Ask) -> None:
    """Raise `HubError` 403 for a request that another site made a browser send.

    A session's requests must carry its CSRF token, which another site cannot read. Those without a
    session (the form to sign in is one) must come from a page of this hub, if a browser sends them:
    every browser says so, in Sec-Fetch-Site or Origin.
    """
    request = ask.request
    if request.method in SAFE or "authorization" in request.headers:
        return
    if ask.caller.session:
        sent = request.headers.get("x-csrf-token") or next(iter(ask.form().get("csrf", [])), "")
        if not secrets.compare_digest(sent.encode(), ask.caller.csrf.encode()):
            raise forbidden("The form has expired: open the page again and send it once more")
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        here = ask.base.partition("://")[2].partition("/")[0]
        foreign = origin is not None and origin.partition("://")[2].lower() != here.lower()
    if foreign:
        raise forbidden("Another site sent this: open the page here and send it again")


def _refusal(ask: Ask, needs: Right) -> HubError:
    repo, caller = ask.repo, ask.caller
    status = 403 if caller.known else 401
    if repo.disabled:
        return HubError(403, "Access to this resource is disabled.")
    if ask.right < Right.CONTENT and needs in (Right.CONTENT, Right.PROPOSE):
        if repo.sharing != "open":
            return HubError(
                status,
                f"The data of {repo.full_name} stay with its owner ({repo.sharing} sharing): take "
                "part in a joint run, or ask the owner",
                "GatedRepo",
            )
        return HubError(
            status,
            f"Access to {repo.kind} {repo.full_name} is restricted and you are not in the "
            f"authorized list. Visit {ask.address_of(repo)} to ask for access.",
            "GatedRepo",
        )
    if not caller.known:
        return unauthorized("Invalid username or password.")
    if not caller.may_write:
        return forbidden(READ_ONLY)
    return forbidden(
        f"You don't have write access to {repo.full_name}: {needs.name.lower()} is not among your "
        "rights. Make sure that you have the role and your token the correct permissions"
    )
