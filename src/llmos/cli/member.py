"""`llmos member`: take part in joint runs that are planned on a hub."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos.cli.evaluate import KEY
from llmos.errors import UsageError
from llmos.recipe import KEYS, load_recipe, recipe_diff
from llmos.recipe_text import toml_value
from llmos.storage import storage_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmos.federation.agreeing import Planned
    from llmos.federation.hub_address import HubAddress, HubSession

app = typer.Typer(
    help="Take part in joint runs planned on a hub: register a key, read a recipe, sign it.",
    no_args_is_help=True,
)

Hub = Annotated[str, typer.Argument(metavar="HUB", help="Such as https://hub.example.org.")]
RunAt = Annotated[str, typer.Argument(metavar="HUB/OWNER/NAME", help="A planned run.")]
KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="Your signing key.")]
Org = Annotated[
    str, typer.Option("--org", metavar="ORG", help="Of an organisation that you are an admin of.")
]


@contextmanager
def _session(address: HubAddress) -> Iterator[HubSession]:
    from llmos.federation.hub_address import HubSession, token_for

    with HubSession(address, token_for(address)) as session:
        yield session


@contextmanager
def _at(hub: str) -> Iterator[HubSession]:
    from llmos.federation.hub_address import HubAddress

    with _session(HubAddress.parse_hub(hub)) as session:
        yield session


@app.command("key")
def register(
    hub: Hub,
    key: KeyFile = KEY,
    org: Org = "",
    label: Annotated[str, typer.Option("--label", help="To tell your keys apart.")] = "",
    instead_of: Annotated[
        str | None,
        typer.Option("--instead-of", metavar="KEY", help="A public key that is revoked at once."),
    ] = None,
) -> None:
    """Register your signing key at HUB, for yourself or an organisation; made on first use.

    The private key stays in its file, which only you can read; the hub gets the public one, and a
    proof that you hold it. The token is that of HF_TOKEN, or of hf auth login.
    """
    from llmos.federation.agreeing import own_name, register_key
    from llmos.provenance.signing import open_key

    with _at(hub) as session:
        account = org or own_name(session)
        file = key.expanduser()
        is_new, signing = not file.exists(), open_key(file)
        if is_new:
            typer.echo(f"made a key in {file}: keep a copy of it where nobody else can read it")
        added = register_key(session, signing, org=org, label=label, instead_of=instead_of)
    done = "registered" if added else "registered already"
    typer.echo(f"{done}: {signing.public} signs for {account} at {session.address.endpoint}")


@app.command()
def revoke(
    hub: Hub,
    public: Annotated[str, typer.Argument(metavar="KEY", help="Public, as `show` prints it.")],
    org: Org = "",
) -> None:
    """Revoke a key at HUB: from now on it signs nothing; what it signed before stays checkable."""
    path = f"/api/hub/orgs/{org}/keys" if org else "/api/hub/me/keys"
    with _at(hub) as session:
        session.done("DELETE", f"{path}/{public}")
    typer.echo(f"revoked: {public}")


@app.command()
def show(hub: Hub) -> None:
    """Show your keys at HUB, your organisations' keys, and the runs that name you as a member."""
    from llmos.federation.agreeing import agreements, how_to_register, keys_of, own_name

    with _at(hub) as session:
        name, found = own_name(session), agreements(session)
        accounts = dict.fromkeys([name, *(one["account"] for one in found)])
        endpoint = session.address.endpoint
        for account in accounts:
            keys = keys_of(session, account)
            typer.echo(f"keys of {account}:" if keys else f"keys of {account}: none yet")
            if all(key["revoked_at"] for key in keys):
                typer.echo(f"  register one: {how_to_register(session, account)}")
            for key in keys:
                mark = "revoked" if key["revoked_at"] else f"since {key['created_at'][:10]}"
                typer.echo(f"  {key['public_key']}  {mark}  {key['label']}".rstrip())
    typer.echo("runs:" if found else "runs that name you as a member: none")
    for one in found:
        done = f"agreed with the key {one['public_key'][:16]}" if one["signed"] else "not agreed"
        typer.echo(f"  {one['run']}  {one['state']}  as {one['member']}: {done}")
        if not one["signed"]:
            typer.echo(f"    read and sign it: llmos member agree {endpoint}/{one['run']}")


@app.command("agree")
def sign_recipe(
    run: RunAt,
    key: KeyFile = KEY,
    member: Annotated[
        str,
        typer.Option("--member", metavar="NAME", help="Which you are, if several."),
    ] = "",
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="FILE", help="What you agreed to: it must be the same."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Keep the recipe in a new file.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without a question.")] = False,
) -> None:
    """Show a planned run, and sign its recipe as a member.

    What is signed is the run's name, the member's, and the recipe's sha256. A run keeps a recipe
    that somebody has signed. Exit code 1: you did not agree.
    """
    from llmos.federation.agreeing import agree, how_to_register, own_member, planned_run
    from llmos.federation.hub_address import HubAddress
    from llmos.provenance.signing import load_key

    with _session(HubAddress.parse(run)) as session:
        planned = planned_run(session)
        _show(planned)
        if recipe is not None:
            _require_same(recipe, planned)
        name = member or own_member(session, planned)
        if not key.expanduser().exists():
            command = how_to_register(session, planned.member(name)["account"])
            raise UsageError(f"there is no key in {key}: make and register one with {command}")
        signing = load_key(key.expanduser())
        if save is not None:
            _save(save, planned.text)
        if not yes:
            _ask(name, signing.public)
        is_new = agree(session, planned, name, signing)
    typer.echo(f"{'agreed' if is_new else 'agreed already'}: {name} to {planned.name}")


def _show(planned: Planned) -> None:
    agreed = planned.recipe
    typer.echo(f"{planned.name}: {planned.state}, the recipe {agreed.name} says")
    for name, value in agreed.flat().items():
        if value != KEYS[name].default:
            typer.echo(f"  {name} = {toml_value(value)}")
    typer.echo("  (all else has its default: llmos recipe keys)")
    typer.echo(f"  sha256 {agreed.sha256()}")
    for one in planned.members:
        done = f"agreed with {one['public_key'][:16]}" if one["signed"] else "has not agreed yet"
        typer.echo(f"member {one['name']} (account {one['account'] or 'not said'}): {done}")


def _require_same(file: Path, planned: Planned) -> None:
    own = load_recipe(file)
    if not own.agreement.members:
        own = own.with_values({"agreement.members": list(planned.recipe.agreement.members)})
    if changed := [name for name, _, _ in recipe_diff(own, planned.recipe)]:
        raise UsageError(
            f"the recipe of {planned.name} is not that of {file}: they differ in "
            f"{', '.join(changed[:5])}; nothing was signed"
        )


def _save(file: Path, text: str) -> None:
    with storage_errors(file):
        if file.exists() and file.read_text("utf-8") != text:
            raise UsageError(f"{file} exists and says something else: choose another name")
    write_atomic(file, text.encode())


def _ask(name: str, public: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nothing was signed: say --yes to agree where nobody can be asked")
    if not typer.confirm(f"Agree as {name}, with the key {public[:16]}?"):
        typer.echo("nothing was signed")
        raise typer.Exit(1)
