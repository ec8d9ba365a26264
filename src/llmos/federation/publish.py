"""A finished run brought to a hub: model, card, ledger, recipe and results in one commit; the run
registered beside it, with its ledger checked there.

Done twice, it changes nothing the second time; broken off, it is done again with the same command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmos.errors import UsageError
from llmos.federation.hub_address import HubAddress, HubAwayError, HubSession, said, token_for
from llmos.federation.run_result import write_run_result
from llmos.federation.telling import tell_log
from llmos.provenance.ledger import Ledger
from llmos.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How a run is published. `private`: None: as it was planned, else as the owner has set it;
    `datasets`: names on the hub; `results`: further signed results."""

    private: bool | None = None
    datasets: Sequence[str] = ()
    results: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """Where it is now. `verified`: whether the hub found the ledger sound; `commit`: of the
    model."""

    model_url: str
    run_url: str
    commit: str
    verified: bool


def plan_on_hub(
    session: HubSession,
    recipe: Recipe,
    sharing: Sharing,
    accounts: Mapping[str, str] | None = None,
) -> bool:
    """Register the run of `recipe`, unless it is there; whether it was not.

    `accounts`: whose members are which, where the account has another name than the member.
    Raises `UsageError` when the name is taken by a run of another recipe or one may not use it;
    `HubAwayError`.
    """
    name = session.address.name
    plan = {
        "name": name,
        "recipe": recipe.to_toml(),
        "members": dict(accounts or {}),
        "private": sharing.private,
        "datasets": list(sharing.datasets),
        "model": name,
    }
    answer = session.ask("POST", "/api/runs", json=plan)
    if answer.status_code != 409:
        if answer.is_error:
            raise UsageError(f"{session.address.url} cannot be made: {said(answer)}")
        return True
    there = session.done("GET", f"/api/runs/{name}/state")
    if there["recipe_sha256"] != recipe.sha256():
        raise UsageError(
            f"{session.address.url} is a run of another recipe (sha256 "
            f"{there['recipe_sha256'][:16]}, not {recipe.sha256()[:16]}): train with the one that "
            "was planned (llmos member agree shows it), or choose another name"
        )
    if sharing.private and not there["private"]:
        raise _not_private(session.address)
    return False


def _not_private(address: HubAddress) -> UsageError:
    return UsageError(
        f"{address.url} is there already and everybody may see it: make it private in its "
        "settings, or choose another name"
    )


def publish_run(
    folder: Path, address: HubAddress, sharing: Sharing | None = None, token: str | None = None
) -> Published:
    """Publish the finished run in `folder`.

    Raises `UsageError` where there is no token, no right, a name that is taken, or a run that is
    not finished; `HubAwayError` when the hub is away. The run's folder stays as it is, but for
    folder/results.
    """
    sharing = sharing or Sharing()
    recipe = load_recipe(folder / "recipe.toml")
    if not (folder / "model").is_dir():
        raise UsageError(f"{folder} has no model yet: llmos train --resume {folder}")
    for path in sharing.results:
        if not path.is_file():
            raise UsageError(f"{path} is no file: name a signed result")
    token = token or token_for(address)
    with HubSession(address, token) as session:
        plan_on_hub(session, recipe, sharing)
        there = session.done("GET", f"/api/runs/{address.name}/state")
        if sharing.private is None:
            sharing = replace(sharing, private=bool(there["private"]))
        if there["state"] != "done":
            tell_log(session, folder / "log.jsonl")
        write_run_result(folder, address.name)
        title = f"Publish the run {recipe.name}"
        commit = _push_model(folder, address, token, sharing, title)
        ledger = (folder / "ledger.jsonl").read_bytes()
        found = session.done("POST", f"/api/runs/{address.name}/ledger", content=ledger)
        return Published(
            address.url,
            f"{address.endpoint}/runs/{address.name}",
            commit,
            bool(found["verified"]),
        )


def _push_model(folder: Path, address: HubAddress, token: str, sharing: Sharing, title: str) -> str:
    """Commit all files to the model's repository at once; the commit's id."""
    with _online(address):
        api = _api(address, token)
        api.create_repo(address.name, private=sharing.private, exist_ok=True)
        is_private = api.repo_info(address.name).private
    if sharing.private and not is_private:
        raise _not_private(address)
    head = Ledger.open(folder / "ledger.jsonl").head
    return _commit(address, token, "model", dict(_files(folder, sharing)), title, head)


def publish_dataset(
    folder: Path, address: HubAddress, level: str, *, private: bool | None = None
) -> str:
    """Register what `llmos data publish` wrote into `folder` as a data set shared at `level` (open,
    federated, metadata), in one commit; its id.

    At the levels federated and metadata the hub takes descriptions only: the text stays at home.
    Raises `UsageError` and `HubAwayError` as `publish_run` does, and for a data set that is there
    at another level.
    """
    token = token_for(address)
    owner, _, name = address.name.partition("/")
    new = {"type": "dataset", "name": name, "organization": owner, "private": private}
    with HubSession(address, token) as session:
        answer = session.ask("POST", "/api/repos/create", json={**new, "sharing": level})
        if answer.status_code == 409:
            there = session.done("GET", f"/api/datasets/{address.name}?expand=sharing")
            if there["sharing"] != level:
                raise UsageError(
                    f"{address.url} is there already, shared as {there['sharing']}: change that in "
                    "its settings, or choose another name"
                )
        elif answer.is_error:
            raise UsageError(f"{address.url} cannot be made: {said(answer)}")
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return _commit(address, token, "dataset", files, f"Publish the data set ({level})", "")


def _api(address: HubAddress, token: str) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=address.endpoint, token=token)


def _commit(
    address: HubAddress, token: str, kind: str, files: dict[str, Path], title: str, head: str
) -> str:
    from huggingface_hub import CommitOperationAdd

    with _online(address):
        made = _api(address, token).create_commit(
            address.name,
            [CommitOperationAdd(path, str(file)) for path, file in files.items()],
            repo_type=kind,
            commit_message=title,
            commit_description=f"Ledger head {head}" if head else None,
        )
    return str(made.oid)


@contextmanager
def _online(address: HubAddress) -> Iterator[None]:
    """Let huggingface_hub reach the hub (our commands keep it offline, so that none reaches one
    that nobody named), and tell its errors as ours."""
    import httpx2 as httpx
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status >= 500 or status == 429:
            raise HubAwayError(f"{address.endpoint} fails ({status}): try again later") from error
        raise UsageError(f"{address.url}: the hub refuses: {_line(error)}") from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise HubAwayError(f"{address.endpoint}: the upload broke off ({_line(error)})") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _files(folder: Path, sharing: Sharing) -> Iterator[tuple[str, Path]]:
    """What goes into the model's repository: path there, file here."""
    for path in sorted((folder / "model").rglob("*")):
        if path.is_file():
            yield path.relative_to(folder / "model").as_posix(), path
    for path in sorted((folder / "adapter").rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path
    for name in ("ledger.jsonl", "recipe.toml", "comparison.json"):
        if (folder / name).is_file():
            yield name, folder / name
    for path in [*sorted((folder / "results").glob("*.json")), *sharing.results]:
        yield f"results/{path.name}", path


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def recipe_of_start(recipe: Recipe, members: Sequence[str]) -> Recipe:
    """The recipe as a run of these members agrees on it (see `federation.local.train`)."""
    return recipe.with_values({"agreement.members": sorted(members)}) if members else recipe
