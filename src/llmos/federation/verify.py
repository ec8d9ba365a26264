"""Check a finished run from its folder alone: chain, signatures, files, and every merge again.

NumPy and hashes only: no model is built and no PyTorch is needed, so anybody can run it on any
machine. What was found is a list of checks; `cannot_prove` says what no such check can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from llmos.errors import LedgerError, LLMOSError, UsageError
from llmos.federation.compression import CODECS
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import fetch, get_blob, ledger_key
from llmos.federation.state import RunState
from llmos.federation.strategies import make_strategy
from llmos.federation.strategies.base import Contribution, normalised_weights
from llmos.models.arrays import Vector, flatten, vector_from_bytes, vector_to_bytes
from llmos.provenance.ledger import Entry, check_ledger, compare_heads
from llmos.provenance.signing import verify
from llmos.recipe import recipe_from_dict
from llmos.storage import sha256_file, sha256_hex

CANNOT_PROVE = (
    "that members trained honestly, on the text that their data cards describe",
    "that token counts, losses and evaluation sums are true: each is its member's signed word",
    "that the members are who they say: keys were trusted when they were admitted",
    "that nothing was tried in secret before this run, or left out of it",
    "what logs and members' private state say, or that the comparison was trained as it states",
)

_KINDS = {"join": "join", "counts": "counts", "updates": "update", "evaluations": "evaluation"}
_KINDS["closing"] = "closing"


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what, how much of it, and the problems found."""

    name: str
    detail: str
    problems: tuple[str, ...] = ()


@dataclass
class Verification:
    """The outcome for one run folder."""

    folder: Path
    checks: list[Check] = field(default_factory=list)
    cannot_prove: tuple[str, ...] = CANNOT_PROVE

    @property
    def problems(self) -> list[str]:
        return [problem for check in self.checks for problem in check.problems]

    @property
    def ok(self) -> bool:
        return not self.problems

    def raise_if_failed(self) -> None:
        """Raise `LedgerError` with the first problem, if there is one."""
        if self.problems:
            raise LedgerError(f"{self.folder} does not verify: {self.problems[0]}")


def verify_run(folder: Path | str, heads: Sequence[Path] = ()) -> Verification:
    """Verify the run in `folder`; `heads` are members' own copies of the ledger kept elsewhere.

    Raises `UsageError` only when there is no run to look at; all else becomes a problem.
    """
    folder = Path(folder)
    path = folder / "ledger.jsonl"
    if not path.exists():
        raise UsageError(f"{folder} holds no ledger.jsonl: give the folder of a run")
    entries, problems = check_ledger(path)
    result = Verification(folder)
    result.checks.append(
        Check("chain", f"{len(entries)} entries, hash-chained and signed", tuple(problems))
    )
    state = RunState()
    result.checks.append(_fold(entries, state))
    run = _Run(folder, entries, state)
    result.checks.append(run.check("recipe", "agreed recipe, its file and copies", run.recipe))
    result.checks.append(
        run.check("members' signatures", "every object that a member signed", run.signatures)
    )
    result.checks.append(run.check("closing", "signed by all members", run.closing))
    result.checks.append(run.check("own heads", "members' own copies", lambda: run.heads(heads)))
    result.checks.append(run.check("exchange", "every object sent", run.exchange_files))
    result.checks.append(run.check("model", "files of the model folder", run.model_files))
    result.checks.append(run.check("comparison", "its files", run.comparison_files))
    result.checks.append(run.check("merges", "recomputed", run.merges))
    return result


def _fold(entries: Sequence[Entry], state: RunState) -> Check:
    problems = []
    for entry in entries:
        try:
            state.apply(entry)
        except LedgerError as error:
            problems.append(str(error))
            break
    return Check("order", f"the run is in phase {state.phase}", tuple(problems))


class _Run:
    """The checks that need the folder; each yields problems, and counts what it looked at."""

    def __init__(self, folder: Path, entries: Sequence[Entry], state: RunState) -> None:
        self.folder = folder
        self.entries = entries
        self.state = state
        self.exchange = DirectoryExchange(folder / "exchange")
        self.counted = 0

    def check(self, name: str, detail: str, find: Callable[[], Iterator[str]]) -> Check:
        self.counted = 0
        try:
            problems = tuple(find())
        except (LLMOSError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            problems = (f"{name}: cannot be checked: {error}",)
        return Check(name, f"{self.counted} {detail}", problems)

    def recipe(self) -> Iterator[str]:
        opened = self.entries[0].body
        self.counted = 1
        recipe = recipe_from_dict(opened["recipe"])
        if recipe.sha256() != opened["recipe_sha256"]:
            yield "ledger.jsonl: the recipe in entry 0 does not have the sha256 stated there"
        homes = self.folder / "members"
        for path in [self.folder / "recipe.toml", *sorted(homes.glob("*/recipe.toml"))]:
            self.counted += 1
            name = path.relative_to(self.folder)
            if not path.exists():
                yield f"{name} is missing"
            elif sha256_file(path) != opened["recipe_file_sha256"]:
                yield f"{name} differs from the file that was agreed"

    def signatures(self) -> Iterator[str]:
        for entry in self.entries:
            for kind, signed in _member_objects(entry):
                self.counted += 1
                name = str(signed.get("member"))
                admitted = self.state.members.get(name)
                if admitted is None:
                    yield f"entry {entry.index}: {name[:40]!r} was never admitted"
                    continue
                try:
                    verify(kind, signed, admitted.public_key)
                except LLMOSError as error:
                    yield f"entry {entry.index}: {error}"
                if signed.get("run_id") != self.state.run_id:
                    yield f"entry {entry.index}: the {kind} of {name} belongs to another run"

    def closing(self) -> Iterator[str]:
        last = self.entries[-1]
        if last.kind != "closed":
            yield (
                f"ledger.jsonl ends at entry {last.index} ({last.kind}) without a closing entry: "
                "the run is unfinished (llmos train --resume), or its end was removed"
            )
            return
        signed_by = set()
        for statement in last.body["statements"]:
            self.counted += 1
            signed_by.add(statement["member"])
            if statement["head"] != last.previous:
                yield f"{statement['member']} signed off another ledger than this one"
        for name in sorted(set(self.state.members) - signed_by):
            yield f"the closing entry lacks the signature of {name}"

    def heads(self, elsewhere: Sequence[Path]) -> Iterator[str]:
        own = sorted((self.folder / "members").glob("*/ledger.jsonl"))
        for path in [*own, *elsewhere]:
            self.counted += 1
            lines = path.read_bytes().split(b"\n")[:-1]
            difference = compare_heads(self.entries, [sha256_hex(line) for line in lines])
            if difference:
                who = path.parent.name if path in own else str(path)
                yield f"against the copy of {who}: {difference}"

    def exchange_files(self) -> Iterator[str]:
        root = self.exchange.root
        lines = {entry.index: entry.line for entry in self.entries}
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            if path.name.startswith("."):
                continue  # a temporary file that a crash left behind
            self.counted += 1
            key = path.relative_to(root).as_posix()
            group, *rest = key.split("/")
            if group == "blobs":
                if sha256_file(path) != path.name:
                    yield f"exchange/{key} is damaged: its sha256 is another"
            elif group == "ledger":
                if path.read_bytes() != lines.get(int(path.name)):
                    yield f"exchange/{key} differs from entry {int(path.name)} of ledger.jsonl"
            elif group in _KINDS and rest:
                yield from self._posted(key, _KINDS[group], rest[-1])
            else:
                yield f"exchange/{key} does not belong to the run"
        for entry in self.entries:
            if self.exchange.get(ledger_key(entry.index)) is None:
                yield f"exchange/{ledger_key(entry.index)} is missing"

    def _posted(self, key: str, kind: str, member: str) -> Iterator[str]:
        admitted = self.state.members.get(member)
        if admitted is None:
            yield f"exchange/{key} is of {member!r}, who was never admitted"
            return
        refused = {
            entry.body["manifest_sha256"]
            for entry in self.entries
            if entry.kind == "update_rejected"
        }
        if sha256_hex(self.exchange.get(key) or b"") in refused:
            return  # the ledger already says that this one is bad, and why
        try:
            verify(kind, fetch(self.exchange, key), admitted.public_key)
        except LLMOSError as error:
            yield f"exchange/{key}: {error}"

    def model_files(self) -> Iterator[str]:
        model = self.folder / "model"
        there = (
            {path.name for path in model.rglob("*") if path.is_file()} if model.exists() else set()
        )
        for name, digest in sorted(self.state.files.items()):
            self.counted += 1
            if name not in there:
                yield f"model/{name} is missing"
            elif sha256_file(model / name) != digest:
                yield f"model/{name} was changed: its sha256 is not the one in the ledger"
        if self.state.files:
            for name in sorted(there - set(self.state.files)):
                yield f"model/{name} is not in the ledger"

    def comparison_files(self) -> Iterator[str]:
        for name, digest in sorted((self.state.comparison or {}).get("files", {}).items()):
            self.counted += 1
            path = self.folder / name
            if not path.exists():
                yield f"{name} is missing"
            elif sha256_file(path) != digest:
                yield f"{name} was changed: its sha256 is not the one in the ledger"

    def merges(self) -> Iterator[str]:
        """Every merge again, from the first weights and the updates kept."""
        state = self.state
        if 0 not in state.weights:
            return
        recipe = recipe_from_dict(self.entries[0].body["recipe"])
        strategy = make_strategy(recipe)
        base = self._weights(state.weights[0])
        outer: dict[str, Vector] = {}
        manifests: dict[str, dict[str, Any]] = {}
        for entry in self.entries:
            if entry.kind == "update_accepted":
                manifests[entry.body["update"]["member"]] = entry.body["update"]
            if entry.kind != "merged":
                continue
            number = entry.body["round"]
            if not recipe.publication.keep_updates:
                yield "merges: the recipe did not keep updates, so they cannot be recomputed"
                return
            shares = normalised_weights(
                {m: u["tokens"] for m, u in manifests.items()}, recipe.aggregation.weighting
            )
            if {m: share.hex() for m, share in shares.items()} != entry.body["weights"]:
                yield f"round {number}: the weights of the members do not follow from their tokens"
            contributions = []
            for member, update in manifests.items():
                try:
                    data = get_blob(self.exchange, update["update_sha256"])
                except LLMOSError as error:
                    yield f"round {number}: the update of {member} cannot be read: {error}"
                    return
                delta = CODECS[update["codec"]].decode(data, update["values"])
                contributions.append(Contribution(member, shares[member], delta))
            base, outer = strategy.merge(base, contributions, outer)
            if sha256_hex(vector_to_bytes(base)) != entry.body["weights_sha256"]:
                yield f"round {number}: the updates do not merge to the weights in the ledger"
                return
            self.counted += 1
            manifests = {}
        yield from self._published_weights()

    def _weights(self, digest: str) -> Vector:
        return vector_from_bytes(get_blob(self.exchange, digest), self.state.layout.size)

    def _published_weights(self) -> Iterator[str]:
        if not self.state.files or self.state.selected is None:
            return
        path = self.folder / "model" / "model.safetensors"
        try:
            arrays = load_file(path)
        except (OSError, SafetensorError) as error:
            yield f"model/model.safetensors cannot be read: {error}"
            return
        if sha256_hex(vector_to_bytes(flatten(arrays))) != self.state.weights[self.state.selected]:
            yield (
                "model/model.safetensors does not hold the weights of round "
                f"{self.state.selected}, bit for bit"
            )


def _member_objects(entry: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    """The signed objects of members inside an entry, with their kind."""
    body = entry.body
    if entry.kind == "member_admitted":
        yield "join", body["join"]
    elif entry.kind in ("update_accepted", "update_declined"):
        yield "update", body["update"]
    elif entry.kind in ("evaluated", "tested"):
        for signed in body["evaluations"]:
            yield "evaluation", signed
    elif entry.kind == "closed":
        for signed in body["statements"]:
            yield "closing", signed
