"""`llmos publish`, and what `llmos train --publish` does: a run brought to a hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.errors import LLMOSError
from llmos.records import JSON

if TYPE_CHECKING:
    from llmos.federation.hub_address import HubAddress
    from llmos.federation.publish import Sharing
    from llmos.recipe import Recipe

Listener = Callable[[JSON], None]


def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    to: Annotated[
        str,
        typer.Argument(metavar="HUB/OWNER/NAME", help="Such as https://hub.example.org/us/tales."),
    ],
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public",
            help="Whether only members of the owner may see it; as the owner has set it.",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", metavar="NAME", help="A data set on the hub that was used; repeat it."
        ),
    ] = None,
    result: Annotated[
        list[Path] | None,
        typer.Option("--result", metavar="FILE", help="A result of llmos evaluate; repeat it."),
    ] = None,
) -> None:
    """Publish RUN: model, card, recipe, ledger and results in one commit, and the run itself.

    The token is that of HF_TOKEN, or of hf auth login. Done twice, it changes nothing.
    """
    from llmos.federation.hub_address import HubAddress
    from llmos.federation.publish import Sharing

    sharing = Sharing(private=private, datasets=tuple(dataset or ()), results=tuple(result or ()))
    quiet_transformers()
    bring(run, HubAddress.parse(to), sharing)


def bring(run: Path, address: HubAddress, sharing: Sharing | None = None) -> None:
    """Publish the run and say where it is. Errors say that nothing is lost, and how to go on."""
    from llmos.federation.publish import publish_run

    try:
        done = publish_run(run, address, sharing)
    except LLMOSError as error:
        raise type(error)(
            f"{error}; nothing of the run is lost: when it is mended, "
            f"llmos publish {run} {address.url}"
        ) from error
    typer.echo(f"published: {done.model_url} (commit {done.commit[:12]})")
    found = "verified there" if done.verified else "NOT verified there: see the run's page"
    typer.echo(f"the run: {done.run_url} (ledger {found})")


class Publication:
    """What `--publish` adds to a run: checked before it, told while it lasts, brought after it."""

    def __init__(self, to: str) -> None:
        """Raises `UsageError` for no address of a hub, or no token."""
        from llmos.federation.hub_address import HubAddress, token_for

        self.address = HubAddress.parse(to)
        self._token = token_for(self.address)

    def prepare(
        self, recipe: Recipe, members: Sequence[str], keys: Mapping[str, Path] | None = None
    ) -> None:
        """Register the run before it begins: so a name that is taken, a right or an agreement that
        is missing costs no training. A hub that is away is mentioned; then the run is registered at
        its end. `keys`: files of members' own keys.
        """
        from llmos.federation.agreeing import check_agreed
        from llmos.federation.hub_address import HubAwayError, HubSession
        from llmos.federation.publish import Sharing, plan_on_hub, recipe_of_start
        from llmos.provenance.signing import load_key

        agreed = recipe_of_start(recipe, members)
        own = {name: load_key(file).public for name, file in (keys or {}).items() if file.exists()}
        with HubSession(self.address, self._token) as session:
            try:
                if not plan_on_hub(session, agreed, Sharing()):
                    for line in check_agreed(session, agreed, own):
                        typer.echo(line, err=True)
            except HubAwayError as error:
                typer.echo(f"{error}; the run begins all the same", err=True)

    def around(self, work: Callable[[Listener], object]) -> Callable[[Listener], None]:
        """`work`, whose listener tells the hub too."""
        from llmos.federation.telling import HubListener

        def told(listener: Listener) -> None:
            with ExitStack() as stack:
                hub = stack.enter_context(
                    HubListener(self.address, self._token, lambda text: typer.echo(text, err=True))
                )

                def both(event: JSON) -> None:
                    hub(event)
                    listener(event)

                work(both)

        return told
