"""A joint run on one machine: members in turn in one process, or a process each; the same bits.

RUN/run.json       who takes part, with which text, on how many threads
RUN/recipe.toml    the recipe as agreed
RUN/ledger.jsonl   what happened, signed
RUN/exchange/      the objects that were sent
RUN/members/NAME/  each member's home
RUN/coordinator/   the coordinator's key
RUN/compare/       columns of the comparison
RUN/model/         the outcome
RUN/adapter/       what was trained of it, where that are low-rank additions
RUN/log.jsonl      losses and times
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmos.errors import DataError, ModelError, RecipeError, StorageError, UsageError
from llmos.federation.compression import CODECS
from llmos.federation.coordinator import Coordinator
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.finish import finish
from llmos.federation.member import Member
from llmos.federation.processes import MemberProcesses
from llmos.models.base import base_sizes
from llmos.provenance.signing import link_key, load_key
from llmos.recipe import Recipe, load_recipe
from llmos.records import JSON
from llmos.storage import exclusive_lock, require_free_space, write_atomic
from llmos.training.alone import busy, require_new, resume_alone, start_alone
from llmos.training.loop import use_deterministic
from llmos.training.material import Material
from llmos.training.report import is_alone
from llmos.training.workbench import base_head

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
    keys: dict[str, str] = field(default_factory=dict)  # files of keys that are kept elsewhere
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
    out: Path | str | None = None,
    members: Mapping[str, Path | str] | None = None,
    data: Path | str | None = None,
    compare: bool = False,
    processes: bool = False,
    keys: Mapping[str, Path | str] | None = None,
    listener: Listener = _silent,
) -> Run:
    """Run `recipe` into the new folder `out` (runs/NAME of the recipe unless given).

    `members` names the folders of a joint run; `data` is the folder of one organisation alone
    (the folder `data` beside the recipe's file where neither is given). `keys` are files of
    members' own signing keys, by name; the others get one of the run. Raises `LLMOSError` for
    whatever does not fit, before anything is written.
    """
    beside = None if isinstance(recipe, Recipe) else Path(recipe).parent / "data"
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(Path(recipe))
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    if data is None and members is None and beside is not None and beside.is_dir():
        data = beside
    if (members is None) == (data is None):
        raise UsageError(
            "give either --data PATH (one organisation) or --member NAME=PATH (several)"
        )
    if data is not None:
        if compare or processes:
            raise UsageError("one organisation alone has nobody to compare with: give --member")
        if keys:
            raise UsageError("keys by name are for members: a run alone has none")
        start_alone(recipe, Path(data), folder, listener=listener)
        return Run(folder)
    assert members is not None
    if compare and len(members) < 2:
        raise UsageError("--compare needs at least two members: there is nothing joint to compare")
    require_new(folder)
    threads = recipe.training.threads or os.cpu_count() or 1
    paths = {name: str(Path(path).resolve()) for name, path in sorted(members.items())}
    named = recipe.agreement.members
    if named and sorted(named) != sorted(paths):
        raise UsageError(
            f"the recipe names the members {', '.join(named)}, but {', '.join(paths)} were given: "
            "give the same names, or change agreement.members"
        )
    recipe = recipe.with_values({"agreement.members": sorted(paths)})
    own_keys = _own_keys(keys or {}, paths)
    materials = {name: _material(name, Path(path), recipe) for name, path in paths.items()}
    require_free_space(folder.parent, _bytes_needed(recipe, len(paths)), "this run")
    with exclusive_lock(folder / ".lock", busy(folder)):
        require_new(folder)  # another process may have made one meanwhile
        write_atomic(folder / "recipe.toml", recipe.to_toml().encode())
        settings = RunSettings(paths, threads, compare, processes, own_keys)
        write_atomic(folder / "run.json", json.dumps(asdict(settings), indent=1).encode())
        try:
            return _go(folder, settings, materials, listener)
        except (DataError, ModelError, RecipeError):
            _remove_unless_trained(folder)
            raise


def _own_keys(keys: Mapping[str, Path | str], members: Mapping[str, str]) -> dict[str, str]:
    """The files of the keys, checked. Raises `UsageError`, `StorageError`."""
    found: dict[str, str] = {}
    for name, file in keys.items():
        if name not in members:
            raise UsageError(
                f"the key {file} is of {name}, but the members are {', '.join(members)}"
            )
        load_key(Path(file))
        found[name] = str(Path(file).resolve())
    return found


def _material(name: str, path: Path, recipe: Recipe) -> Material:
    try:
        return Material(path, recipe)
    except DataError as error:
        raise DataError(f"the text of {name}: {error}") from error


def _remove_unless_trained(folder: Path) -> None:
    """Take back a run whose text and recipe do not fit: the mended command can then be repeated."""
    if any((folder / "exchange" / "updates").rglob("*/*")):
        return
    shutil.rmtree(folder, ignore_errors=True)


def resume(folder: Path | str, listener: Listener = _silent) -> Run:
    """Go on with a run that was stopped, to the same final bits as if it had not been."""
    folder = Path(folder)
    if is_alone(folder):
        resume_alone(folder, listener=listener)
        return Run(folder)
    settings = read_settings(folder)
    with exclusive_lock(folder / ".lock", busy(folder)):
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


def _bytes_needed(recipe: Recipe, members: int) -> int:
    """A generous estimate of the disk that a run takes. `ModelError` where its base is missing."""
    if recipe.model.base:
        values, layers, width = base_sizes(recipe.model.base, base_head(recipe))
    else:
        values, layers, width = _new_sizes(recipe)
    sent = values
    if recipe.training.method == "lora":
        # A block's matrices have at most 28 widths of inputs and outputs, T5's two blocks 46.
        sent = min(values, layers * 46 * width * recipe.lora.rank)
    updates = CODECS[recipe.compression.codec].size(sent) * members
    rounds = recipe.rounds.count if recipe.publication.keep_updates else 2
    # Each member keeps moments; the whole model lies there as frozen weights and as the outcome.
    return updates * rounds + sent * 4 * (8 + 6 * members) + values * 4 * 2


def _new_sizes(recipe: Recipe) -> tuple[int, int, int]:
    """Values, blocks and width of a new model, the values a little too many."""
    model = recipe.model
    inside = model.intermediate_size or 4 * model.hidden_size
    # Both halves of a T5 have so many blocks, and those of one attend twice.
    layers = model.num_layers * (3 if model.family == "t5" else 1)
    block = 4 * model.hidden_size + 3 * inside  # three matrices, as llama has them
    values = recipe.tokenizer.vocabulary_size + model.context_length + layers * block
    return values * model.hidden_size, layers, model.hidden_size


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
    for name, file in settings.keys.items():
        link_key(homes[name] / "key.pem", Path(file))
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
                stack.enter_context(exclusive_lock(home / ".lock", busy(home)))
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
