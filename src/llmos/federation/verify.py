"""Check a finished run from its folder alone: chain, signatures, files, and every merge again.

NumPy and hashes only: no model is built and no PyTorch is needed, so anybody can run it on any
machine. What was found is a list of checks; `cannot_prove` says what no such check can show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from llmos.errors import LedgerError, LLMOSError, StorageError, UsageError
from llmos.federation.compression import CODECS
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import evaluation_key, fetch, get_blob, ledger_key, update_key
from llmos.federation.published import holds_adapter, holds_model
from llmos.federation.strategies import make_strategy
from llmos.federation.strategies.base import Contribution, normalised_weights
from llmos.models.arrays import Vector, vector_from_bytes, vector_to_bytes
from llmos.provenance.ledger import Entry, check_ledger, compare_heads
from llmos.provenance.run_checks import (
    ALONE,
    ALONE_CANNOT_PROVE,
    CANNOT_PROVE,
    Check,
    Checked,
    LedgerChecks,
    fold,
    member_objects,
)
from llmos.provenance.run_state import RunState
from llmos.provenance.signing import verify
from llmos.recipe import recipe_from_dict
from llmos.records import canonical_json
from llmos.storage import sha256_file, sha256_hex
from llmos.training import evidence

_KINDS = {"join": "join", "counts": "counts", "updates": "update", "evaluations": "evaluation"}
_KINDS["closing"] = "closing"


@dataclass
class Verification(Checked):
    """The outcome for one run folder."""

    folder: Path
    checks: list[Check] = field(default_factory=list)
    cannot_prove: tuple[str, ...] = CANNOT_PROVE

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
    if not entries and not problems:
        problems = ["ledger.jsonl is empty: the run has not begun"]
    result.checks.append(
        Check("chain", f"{len(entries)} entries, hash-chained and signed", tuple(problems))
    )
    if not entries:
        return result
    if entries[0].kind == ALONE:
        result.checks += evidence.check_alone(folder, entries)
        result.cannot_prove = ALONE_CANNOT_PROVE
        return result
    state = RunState()
    result.checks.append(fold(entries, state))
    run = _Run(folder, entries, state)
    result.checks.append(run.check("recipe", "agreed recipe, its file and copies", run.recipe))
    result.checks.append(run.check("admission", "members admitted", run.admissions))
    result.checks.append(
        run.check("members' signatures", "every object that a member signed", run.signatures)
    )
    result.checks.append(run.check("closing", "signed by all members", run.closing))
    result.checks.append(run.check("own heads", "members' own copies", lambda: run.heads(heads)))
    result.checks.append(run.check("exchange", "every object sent", run.exchange_files))
    result.checks.append(run.check("model", "files of the model folder", run.model_files))
    result.checks.append(run.check("comparison", "its files", run.comparison_files))
    result.checks.append(run.check("merges", "recomputed", run.merges))
    result.checks.append(run.check("selection", "evaluations and the choice", run.selection))
    return result


class _Run(LedgerChecks):
    """The checks that need the folder too."""

    def __init__(self, folder: Path, entries: Sequence[Entry], state: RunState) -> None:
        super().__init__(entries, state)
        self.folder = folder
        self.exchange = DirectoryExchange(folder / "exchange")

    def recipe(self) -> Iterator[str]:
        yield from super().recipe()
        homes = self.folder / "members"
        for path in [self.folder / "recipe.toml", *sorted(homes.glob("*/recipe.toml"))]:
            self.counted += 1
            name = path.relative_to(self.folder)
            if not path.exists():
                yield f"{name} is missing"
            elif sha256_file(path) != self.entries[0].body["recipe_file_sha256"]:
                yield f"{name} differs from the file that was agreed"

    def heads(self, elsewhere: Sequence[Path]) -> Iterator[str]:
        own = sorted((self.folder / "members").glob("*/ledger.jsonl"))
        for path in [*own, *elsewhere]:
            self.counted += 1
            lines = path.read_bytes().split(b"\n")[:-1]
            if not lines and path in elsewhere:
                yield f"{path} holds no line of a ledger, so it shows nothing"
            difference = compare_heads(self.entries, [sha256_hex(line) for line in lines])
            if difference:
                who = path.parent.name if path in own else str(path)
                yield f"against the copy of {who}: {difference}"

    def exchange_files(self) -> Iterator[str]:
        root = self.exchange.root
        lines = {entry.index: entry.line for entry in self.entries}
        told = dict(item for entry in self.entries for item in _told(entry))
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
                number = int(path.name) if path.name.isdecimal() else -1
                if path.read_bytes() != lines.get(number):
                    yield f"exchange/{key} is not an entry of ledger.jsonl"
            elif key in told:
                if sha256_file(path) != told[key]:
                    yield f"exchange/{key} differs from what the ledger says was sent"
            elif group in _KINDS and rest:
                yield from self._posted(key, _KINDS[group], rest[-1])
            else:
                yield f"exchange/{key} does not belong to the run"
        needed = [ledger_key(entry.index) for entry in self.entries]
        for key in [*needed, *told, *self._needed_blobs()]:
            if not (root / key).is_file():
                yield f"exchange/{key} is missing"

    def _posted(self, key: str, kind: str, member: str) -> Iterator[str]:
        """Problems of an object that no entry holds: piece counts, or one that waits to be read."""
        admitted = self.state.members.get(member)
        if admitted is None and not (kind == "join" and member in self.state.expected):
            yield f"exchange/{key} is of {member!r}, who was never admitted"
            return
        public = admitted.public_key if admitted else None
        try:
            body = verify(kind, fetch(self.exchange, key), public)
        except LLMOSError as error:
            yield f"exchange/{key}: {error}"
            return
        if body.get("run_id") != self.state.run_id or _key_of(kind, body) != key:
            yield f"exchange/{key} holds what its member sent in another place"
        if kind == "counts" and body.get("counts_sha256") != self._told_counts().get(member):
            yield f"exchange/{key} differs from what the ledger says was sent"

    def _told_counts(self) -> dict[str, str]:
        for entry in self.entries:
            if entry.kind == "tokenizer_agreed":
                return {m: told["counts_sha256"] for m, told in entry.body["counts"].items()}
        return {}

    def _needed_blobs(self) -> Iterator[str]:
        """The blobs that stay for good, besides updates (see `merges`)."""
        state = self.state
        digests = [*self._told_counts().values(), state.tokenizer_sha256]
        digests += [state.config_sha256, state.frozen_sha256]
        digests += [state.weights.get(number, "") for number in (0, state.selected or 0)]
        yield from (f"blobs/{digest}" for digest in sorted(set(digests) - {""}))

    def model_files(self) -> Iterator[str]:
        for place, files in (("model", self.state.files), ("adapter", self.state.adapter)):
            folder = self.folder / place
            there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
            for name, digest in sorted(files.items()):
                self.counted += 1
                if name not in there:
                    yield f"{place}/{name} is missing"
                elif sha256_file(folder / name) != digest:
                    yield f"{place}/{name} was changed: its sha256 is not the one in the ledger"
            if self.state.files:
                for name in sorted(there - set(files)):
                    yield f"{place}/{name} is not in the ledger"

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
        digest = state.weights[0]
        base = self._weights(digest)
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
            if {m: u["update_sha256"] for m, u in manifests.items()} != entry.body["updates"]:
                yield f"round {number}: the updates merged are not those that were accepted"
            for member, update in manifests.items():
                if (update["round"], update["base_sha256"]) != (number, digest):
                    yield f"round {number}: the update of {member} is for another round or base"
                try:
                    data = get_blob(self.exchange, update["update_sha256"])
                except LLMOSError as error:
                    yield f"round {number}: the update of {member} cannot be read: {error}"
                    return
                delta = CODECS[update["codec"]].decode(data, update["values"])
                contributions.append(Contribution(member, shares[member], delta))
            base, outer = strategy.merge(base, contributions, outer)
            digest = sha256_hex(vector_to_bytes(base))
            found = {name: sha256_hex(vector_to_bytes(values)) for name, values in outer.items()}
            if (digest, found) != (entry.body["weights_sha256"], entry.body["outer_sha256"]):
                yield f"round {number}: the updates do not merge to the weights in the ledger"
                return
            self.counted += 1
            manifests = {}
        yield from self._published_weights()

    def _weights(self, digest: str) -> Vector:
        return vector_from_bytes(get_blob(self.exchange, digest), self.state.layout.size)

    def _published_weights(self) -> Iterator[str]:
        state = self.state
        if not state.files or state.selected is None:
            return
        lora = recipe_from_dict(self.entries[0].body["recipe"]).lora
        weights = state.layout.split(self._weights(state.weights[state.selected]))
        frozen = np.zeros(0, np.float32)
        if state.frozen_sha256:
            data = get_blob(self.exchange, state.frozen_sha256)
            frozen = vector_from_bytes(data, state.frozen_values)
        model = self._arrays("model/model.safetensors")
        if not holds_model(model, weights, frozen, lora.alpha / lora.rank):
            yield (
                "model/model.safetensors does not hold the weights of round "
                f"{state.selected}, bit for bit"
            )
        if state.adapter:
            adapter = self._arrays("adapter/adapter_model.safetensors")
            if not holds_adapter(adapter, weights, frozen, model):
                yield (
                    "adapter/adapter_model.safetensors does not hold the weights of round "
                    f"{state.selected}, bit for bit"
                )

    def _arrays(self, name: str) -> dict[str, Vector]:
        try:
            return load_file(self.folder / name)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"{name} cannot be read: {error}") from error


def _key_of(kind: str, signed: dict[str, Any]) -> str | None:
    """Where in the exchange this object of a member belongs; None where it does not say."""
    member, number = signed.get("member"), signed.get("round")
    if kind not in ("update", "evaluation"):
        return f"{kind}/{member}"
    if type(number) is not int:
        return None
    if kind == "update":
        return update_key(number, str(member))
    return evaluation_key(str(signed.get("split")), number, str(member))


def _told(entry: Entry) -> Iterator[tuple[str, str]]:
    """What lies in the exchange according to an entry: key, and sha256 of the manifest."""
    for kind, signed in member_objects(entry):
        if key := _key_of(kind, signed):
            yield key, sha256_hex(canonical_json(signed))
    body = entry.body
    if entry.kind == "update_rejected":
        yield update_key(body["round"], body["member"]), body["manifest_sha256"]
    elif entry.kind in ("evaluated", "tested"):
        split = "validation" if entry.kind == "evaluated" else "test"
        for left_out in body["left_out"]:
            key = evaluation_key(split, body["round"], left_out["member"])
            yield key, left_out["manifest_sha256"]
