"""A joint run on one machine: members in turn in one process, or a process each; the same bits.

RUN/run.json       who takes part, with which text, on how many threads
RUN/recipe.toml    the recipe as agreed
RUN/ledger.jsonl   what happened, signed
RUN/exchange/      the objects that were sent
RUN/members/NAME/  each member's home
RUN/coordinator/   the coordinator's key
RUN/compare/       columns of the comparison
RUN/model/         the outcome
RUN/log.jsonl      losses and times
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from llmos.errors import DataError, StorageError, UsageError
from llmos.federation.compression import CODECS
from llmos.federation.coordinator import Coordinator
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.finish import finish
from llmos.federation.member import Member
from llmos.federation.processes import MemberProcesses
from llmos.recipe import Recipe, load_recipe
from llmos.records import JSON
from llmos.storage import exclusive_lock, require_free_space, write_atomic
from llmos.training.loop import use_deterministic
from llmos.training.material import Material

Listener = Callable[[JSON], None]


def _silent(event: JSON) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class RunSettings:
    """`run.json`: what a resumed run must know again."""

    members: dict[str, str]
    threads: int
    compare: bool
    processes: bool
    version: int = 1


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path

    @property
    def model(self) -> Path:
        """The model folder, in the Hugging Face layout."""
        return self.folder / "model"

    @property
    def comparison(self) -> JSON | None:
        """The comparison, where one was asked for."""
        path = self.folder / "comparison.json"
        return json.loads(path.read_bytes()) if path.exists() else None


def train(
    recipe: Recipe | Path | str,
    *,
    out: Path | str,
    members: Mapping[str, Path | str] | None = None,
    data: Path | str | None = None,
    compare: bool = False,
    processes: bool = False,
    listener: Listener = _silent,
) -> Run:
    """Run `recipe` into the new folder `out`.

    `members` names the folders of a joint run; `data` is the folder of one organisation alone,
    which then trains without merging (`aggregation.strategy` becomes fedavg, whose merge of one
    update is that member's own weights). Raises `LLMOSError` for whatever does not fit, before
    anything is written.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(Path(recipe))
    if (members is None) == (data is None):
        raise UsageError(
            "give either --data PATH (one organisation) or --member NAME=PATH (several)"
        )
    if data is not None:
        members = {"self": data}
        recipe = recipe.with_values(
            {
                "aggregation.strategy": "fedavg",
                "compression.codec": "fp32",
                "agreement.members": [],
                "agreement.quorum": 0,
            }
        )
    assert members is not None
    if compare and len(members) < 2:
        raise UsageError("--compare needs at least two members: there is nothing joint to compare")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out")
    _require_no_run(folder)
    threads = recipe.training.threads or os.cpu_count() or 1
    paths = {name: str(Path(path).resolve()) for name, path in sorted(members.items())}
    named = recipe.agreement.members
    if named and sorted(named) != sorted(paths):
        raise UsageError(
            f"the recipe names the members {', '.join(named)}, but {', '.join(paths)} were given: "
            "give the same names, or change agreement.members"
        )
    recipe = recipe.with_values({"agreement.members": sorted(paths)})
    materials = {name: _material(name, Path(path), recipe) for name, path in paths.items()}
    require_free_space(folder.parent, _bytes_needed(recipe, len(paths)), "this run")
    with exclusive_lock(folder / ".lock", _busy(folder)):
        _require_no_run(folder)  # another process may have made one meanwhile
        write_atomic(folder / "recipe.toml", recipe.to_toml().encode())
        settings = RunSettings(paths, threads, compare, processes)
        write_atomic(folder / "run.json", json.dumps(asdict(settings), indent=1).encode())
        try:
            return _go(folder, settings, materials, listener)
        except DataError:
            _remove_unless_trained(folder)
            raise


def _material(name: str, path: Path, recipe: Recipe) -> Material:
    try:
        return Material(path, recipe)
    except DataError as error:
        raise DataError(f"the text of {name}: {error}") from error


def _require_no_run(folder: Path) -> None:
    if (folder / "run.json").exists():
        raise UsageError(
            f"{folder} already holds a run: llmos train --resume {folder} goes on with it, "
            "or choose another --out"
        )
    others = [path.name for path in folder.glob("*") if path.name[0] != "."]
    if sorted(others) not in ([], ["recipe.toml"]):  # a run killed at its start leaves its recipe
        raise UsageError(f"{folder} holds other files ({min(others)}): choose a new --out")


def _remove_unless_trained(folder: Path) -> None:
    """Take back a run whose text and recipe do not fit: the mended command can then be repeated."""
    if any((folder / "exchange" / "updates").rglob("*/*")):
        return
    shutil.rmtree(folder, ignore_errors=True)


def resume(folder: Path | str, listener: Listener = _silent) -> Run:
    """Go on with a run that was stopped, to the same final bits as if it had not been."""
    folder = Path(folder)
    settings = read_settings(folder)
    with exclusive_lock(folder / ".lock", _busy(folder)):
        return _go(folder, settings, {}, listener)


def read_settings(folder: Path) -> RunSettings:
    """The settings in `folder/run.json`. Raises `UsageError` where there is no run."""
    path = folder / "run.json"
    if not path.exists():
        raise UsageError(f"{folder} holds no run (no run.json): start one with llmos train --out")
    try:
        settings = RunSettings(**json.loads(path.read_bytes()))
        paths = dict[str, str](settings.members)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is damaged ({error}): restore it") from error
    if settings.version != RunSettings.version or not paths or type(settings.threads) is not int:
        raise StorageError(f"{path} is damaged or of a newer llmos: restore it")
    return settings


def _busy(folder: Path) -> str:
    return f"another process works on the run in {folder}: wait for it or stop it"


def _bytes_needed(recipe: Recipe, members: int) -> int:
    """A generous estimate of the disk that a run takes."""
    model = recipe.model
    values = recipe.tokenizer.vocabulary_size * model.hidden_size
    values += model.context_length * model.hidden_size
    values += model.num_layers * 14 * model.hidden_size**2
    updates = CODECS[recipe.compression.codec].size(values) * members
    rounds = recipe.rounds.count if recipe.publication.keep_updates else 2
    return updates * rounds + values * 4 * (8 + 6 * members)


def _go(
    folder: Path, settings: RunSettings, materials: Mapping[str, Material], listener: Listener
) -> Run:
    use_deterministic(settings.threads)
    exchange = DirectoryExchange(folder / "exchange")
    recipe_text = (folder / "recipe.toml").read_bytes()
    homes = {name: folder / "members" / name for name in settings.members}
    for home in homes.values():
        if not (home / "recipe.toml").exists():
            write_atomic(home / "recipe.toml", recipe_text)
    if (folder / "ledger.jsonl").exists() and (folder / "ledger.jsonl").stat().st_size:
        coordinator = Coordinator.open(folder, exchange, listener)
    else:
        (folder / "ledger.jsonl").unlink(missing_ok=True)
        coordinator = Coordinator.start(folder, exchange, sorted(settings.members), listener)
    with ExitStack() as stack:
        members: list[Member] = []
        children: MemberProcesses | None = None
        if settings.processes:
            children = stack.enter_context(
                MemberProcesses(folder, settings.members, settings.threads)
            )
        else:
            for name, path in settings.members.items():
                home = homes[name]
                stack.enter_context(exclusive_lock(home / ".lock", _busy(home)))
                member = Member(home, name, Path(path), exchange, listener, materials.get(name))
                members.append(member)
        # Members take in the closing entry too: only their copies show that an end was cut off.
        while coordinator.state.phase != "closed" or any(
            m.state.phase != "closed" for m in members
        ):
            moved = coordinator.step()
            for member in members:
                moved = member.step() or moved
            if coordinator.state.phase == "publishing":
                finish(coordinator, settings.members, compare=settings.compare)
            elif children is not None:
                children.wait(0.0 if moved else 0.01)
            elif not moved:
                raise StorageError(
                    f"the run in {folder} waits for an object that nobody will write: "
                    "its exchange was changed; run llmos verify"
                )
    return Run(folder)
