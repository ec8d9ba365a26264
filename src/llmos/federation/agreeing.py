"""What a member does at a hub before a joint run: registers its key, reads the recipe, signs it.

The recipe's sha256 is computed here, from the text that was read: nothing is signed unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmos.errors import UsageError
from llmos.federation.hub_address import HubSession, said
from llmos.provenance.agreements import AGREEMENT, HUB_KEY, agreement
from llmos.provenance.signing import SigningKey, sign
from llmos.recipe import Recipe, parse_recipe
from llmos.records import JSON


@dataclass(frozen=True, slots=True)
class Planned:
    """A run as a hub tells of it. `text` is its recipe as it was written; `members` have name,
    account (None: not said), signed, public_key."""

    name: str
    state: str
    recipe: Recipe
    text: str
    members: tuple[JSON, ...]

    def member(self, name: str) -> JSON:
        """The member of that name. Raises `UsageError`."""
        for one in self.members:
            if one["name"] == name:
                return one
        named = ", ".join(one["name"] for one in self.members) or "none"
        raise UsageError(f"{name} is no member of {self.name}: its members are {named}")


def own_name(session: HubSession) -> str:
    """The account that the token is of. Raises `UsageError`, `HubAwayError`."""
    return str(session.done("GET", "/api/hub/me")["name"])


def keys_of(session: HubSession, account: str) -> list[JSON]:
    """The keys of an account: public_key, label, created_at, revoked_at (None: it signs)."""
    return list(session.done("GET", f"/api/hub/accounts/{account}")["keys"])


def how_to_register(session: HubSession, account: str | None) -> str:
    """The command that registers a key for an account that one may sign for."""
    org = f" --org {account}" if account and account != own_name(session) else ""
    return f"llmos member key {session.address.endpoint}{org}"


def register_key(
    session: HubSession,
    key: SigningKey,
    *,
    org: str = "",
    label: str = "",
    instead_of: str | None = None,
) -> bool:
    """Register `key` for the token's account, or the organisation `org`; whether it was not yet.

    `instead_of` is a key of the same account that is revoked at once. Raises `UsageError` for a key
    that is another's or revoked, an organisation that one is no admin of; `HubAwayError`.
    """
    endpoint, account = session.address.endpoint, org or own_name(session)
    for there in keys_of(session, account):
        if there["public_key"] == key.public:
            if there["revoked_at"] is None:
                return False
            raise UsageError(
                f"the key {key.public[:16]} was revoked at {endpoint}: name a new file with --key, "
                "and a key is made there"
            )
    path = f"/api/hub/orgs/{org}/keys" if org else "/api/hub/me/keys"
    asked = session.done("POST", f"{path}/challenge")
    # A proof is for one hub and one account: this hub must not pass on the challenge of another.
    if str(asked["hub"]).lower() != endpoint.lower():
        raise UsageError(f"{endpoint} calls itself {asked['hub']}: use that address")
    if str(asked["account"]).lower() != account.lower():
        raise UsageError(f"{endpoint} asks for a key of {asked['account']}, not of {account}")
    body = {name: str(asked[name]) for name in ("hub", "account", "challenge")}
    new = {"proof": sign(key, HUB_KEY, body), "label": label, "instead_of": instead_of}
    answer = session.ask("POST", path, json=new)
    if answer.status_code == 409:
        raise UsageError(
            f"{endpoint} refuses the key {key.public[:16]} for {account} ({said(answer)}): name a "
            "new file with --key, and a key is made there"
        )
    if answer.is_error:
        raise UsageError(f"{endpoint} refuses: {said(answer)}")
    return True


def planned_run(session: HubSession) -> Planned:
    """The run that the session's address names. Raises `UsageError` where there is none, or its
    recipe is not the one it was planned with; `HubAwayError`."""
    url, name = session.address.url, session.address.name
    answer = session.ask("GET", f"/api/runs/{name}/state")
    if answer.status_code == 404:
        raise UsageError(
            f"{url}: there is no such run, or it is private and not shown to you: check the name, "
            "or ask who planned it"
        )
    state = session.done("GET", f"/api/runs/{name}/state")
    if not state["recipe_sha256"]:
        raise UsageError(f"{url} has no recipe yet: ask who made it to commit a recipe.toml")
    file = session.ask("GET", f"/runs/{name}/resolve/main/recipe.toml")
    if file.is_error:
        raise UsageError(f"the recipe of {url} cannot be read: {said(file)}")
    recipe = parse_recipe(file.text, source=f"the recipe of {url}")
    if recipe.sha256() != state["recipe_sha256"]:
        raise UsageError(
            f"the recipe of {url} has the sha256 {recipe.sha256()[:16]}, but the hub names "
            f"{state['recipe_sha256'][:16]}: nothing was signed; ask who planned the run"
        )
    return Planned(state["id"], state["state"], recipe, file.text, tuple(state["members"]))


def agreements(session: HubSession) -> list[JSON]:
    """The runs that await or have one's agreement: run, member, account, state, recipe_sha256,
    signed, public_key."""
    return list(session.done("GET", "/api/hub/me/agreements"))


def own_member(session: HubSession, planned: Planned) -> str:
    """The member of the run that one signs for. Raises `UsageError` for none, or several."""
    mine = [one["member"] for one in agreements(session) if one["run"] == planned.name]
    if len(mine) == 1:
        return str(mine[0])
    if mine:
        raise UsageError(f"you may sign for {', '.join(mine)}: say for which, with --member")
    named = ", ".join(one["name"] for one in planned.members) or "none"
    raise UsageError(
        f"{own_name(session)} is no member of {planned.name}, whose members are {named}: ask who "
        "planned it to name your account, or say which you are with --member"
    )


def agree(session: HubSession, planned: Planned, name: str, key: SigningKey) -> bool:
    """Sign the run's recipe for the member `name`; whether that was not done yet.

    Raises `UsageError` for a key that is not registered, a member that is another's, a recipe that
    was changed meanwhile; `HubAwayError`.
    """
    member, endpoint = planned.member(name), session.address.endpoint
    if member["signed"] and member["public_key"] == key.public:
        return False
    if account := member["account"]:
        active = [k["public_key"] for k in keys_of(session, account) if k["revoked_at"] is None]
        if key.public not in active:
            raise UsageError(
                f"{account} has no key {key.public[:16]} at {endpoint}: "
                f"{how_to_register(session, account)} registers one, --key names its file"
            )
    body = agreement(planned.name, name, planned.recipe.sha256())
    signed = sign(key, AGREEMENT, body)
    session.done("POST", f"/api/runs/{planned.name}/signature", json=signed)
    return True


def check_agreed(session: HubSession, recipe: Recipe, keys: Mapping[str, str]) -> list[str]:
    """Hold a run that is about to train against what its members agreed to at the hub; what is
    worth a line. `keys`: public keys that members will sign with, by name.

    Raises `UsageError` where fewer have agreed than the recipe asks for (agreement.quorum, else
    all), though some have; or where a member would sign with another account's key. A run that
    nobody has agreed to there is agreed to by its ledger alone.
    """
    url = session.address.url
    state = session.done("GET", f"/api/runs/{session.address.name}/state")
    agreed = [one for one in state["members"] if one["signed"]]
    awaited = [one["name"] for one in state["members"] if not one["signed"]]
    needed = recipe.agreement.quorum or len(state["members"])
    if state["ledger"] is None and 0 < len(agreed) < needed:
        raise UsageError(
            f"{len(agreed)} of {needed} members have agreed at {url}: ask {', '.join(awaited)} to "
            f"run llmos member agree {url}"
        )
    for one in agreed:
        key = keys.get(one["name"], "")
        known = keys_of(session, one["account"]) if one["account"] and key else []
        if key not in {one["public_key"], *(k["public_key"] for k in known)}:
            raise UsageError(
                f"{one['name']} agreed at {url} with the key {one['public_key'][:16]}: give its "
                f"file with --key {one['name']}=FILE"
            )
    if not agreed and awaited:
        return [f"nobody has agreed to this run at {url} yet: its ledger will show who takes part"]
    return []
