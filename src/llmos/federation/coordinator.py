"""The coordinator of a joint run: admits members, merges their updates, keeps the ledger.

`Coordinator.step` does the next thing that can be done and returns; all that it knows is folded
from the ledger (`RunState`), so after a crash `Coordinator.open` goes on where the ledger stands.
An object is put into the exchange before the entry that names it is written, and an entry is
written before anybody is told, so that no entry ever names what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmos import __version__
from llmos.errors import ProtocolError, UsageError
from llmos.federation.checks import check_counts, check_declined, check_update
from llmos.federation.compression import CODECS
from llmos.federation.origin import pin_model
from llmos.federation.protocol import (
    Exchange,
    evaluation_key,
    fetch,
    get_blob,
    ledger_key,
    put_blob,
    update_key,
)
from llmos.federation.strategies import make_strategy
from llmos.federation.strategies.base import Contribution, normalised_weights
from llmos.federation.timing import Stopwatch
from llmos.models.arrays import Vector, vector_from_bytes, vector_to_bytes
from llmos.models.disclosure import counts_from_bytes
from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
from llmos.models.vocabulary import Vocabulary, train_joint_tokenizer
from llmos.provenance.ledger import Entry, Ledger
from llmos.provenance.manifests import check_evaluation, check_join, mean_bits_per_byte
from llmos.provenance.run_state import RunState
from llmos.provenance.signing import open_key, verify
from llmos.recipe import load_recipe
from llmos.records import JSON, append_jsonl
from llmos.storage import sha256_file, sha256_hex
from llmos.training.workbench import NEW, from_base, new_model

# After so many rounds in a row without a single usable update the run stops and says so.
MOST_EMPTY_ROUNDS = 3


class Coordinator:
    """The merging side of the run in `folder`. `listener` is told of each step as it is logged."""

    def __init__(
        self,
        folder: Path,
        exchange: Exchange,
        ledger: Ledger,
        listener: Callable[[JSON], None] = lambda event: None,
    ) -> None:
        self.folder = folder
        self.exchange = exchange
        self.ledger = ledger
        self.listener = listener
        self.recipe = load_recipe(folder / "recipe.toml")
        self.strategy = make_strategy(self.recipe)
        self.clock = Stopwatch()
        self.state = RunState()
        self._vectors: dict[str, Vector] = {}  # of the open round, by sha256: read and decoded once
        self._heads: set[str] = set()
        self._empty_rounds = 0
        for entry in ledger.entries:
            self._take(entry)

    @classmethod
    def start(
        cls,
        folder: Path,
        exchange: Exchange,
        members: Sequence[str],
        listener: Callable[[JSON], None] = lambda event: None,
    ) -> Coordinator:
        """Open a run of `folder/recipe.toml` with the members of these names."""
        recipe = load_recipe(folder / "recipe.toml")
        quorum = recipe.agreement.quorum or len(members)
        if quorum > len(members):
            raise UsageError(
                f"agreement.quorum is {quorum}, but only {len(members)} member(s) were given"
            )
        ledger = Ledger.create(
            folder / "ledger.jsonl", open_key(folder / "coordinator" / "key.pem")
        )
        coordinator = cls(folder, exchange, ledger, listener)
        coordinator._append(
            "run_opened",
            {
                "llmos": __version__,
                "recipe": recipe.agreed(),
                "recipe_sha256": recipe.sha256(),
                "recipe_file_sha256": sha256_file(folder / "recipe.toml"),
                "members": sorted(members),
                "quorum": quorum,
                "rounds": recipe.rounds.count,
                "evaluate_every": recipe.evaluation.every,
            },
        )
        return coordinator

    @classmethod
    def open(
        cls,
        folder: Path,
        exchange: Exchange,
        listener: Callable[[JSON], None] = lambda event: None,
    ) -> Coordinator:
        """Go on with the run in `folder`."""
        key = open_key(folder / "coordinator" / "key.pem")
        coordinator = cls(folder, exchange, Ledger.open(folder / "ledger.jsonl", key), listener)
        if coordinator.state.recipe_sha256 != coordinator.recipe.sha256():
            raise ProtocolError(
                f"{folder / 'recipe.toml'} has changed since the run was opened (sha256 "
                f"{coordinator.recipe.sha256()[:16]} instead of "
                f"{coordinator.state.recipe_sha256[:16]}): restore it; a run keeps its recipe"
            )
        for entry in coordinator.ledger.entries:
            if exchange.get(ledger_key(entry.index)) != entry.line:
                exchange.put(ledger_key(entry.index), entry.line, durable=False)
        return coordinator

    # The ledger

    def _take(self, entry: Entry) -> None:
        self.state.apply(entry)
        self._heads.add(entry.hash)

    def _append(self, kind: str, body: JSON) -> None:
        with self.clock("ledger"):
            entry = self.ledger.append(kind, body)
            self._take(entry)
        with self.clock("exchange"):
            self.exchange.put(ledger_key(entry.index), entry.line, durable=False)

    def _log(self, event: str, **facts: Any) -> None:
        record = {"event": event, **facts, "seconds": self.clock.take()}
        append_jsonl(self.folder / "log.jsonl", record)
        self.listener(record)

    def _fetch_signed(self, key: str, kind: str, member: str) -> JSON | None:
        """The signed object under `key`, checked to be this member's and of this run.

        Raises `ProtocolError` (with `SignatureError` below it) for anything else.
        """
        with self.clock("exchange"):
            signed = fetch(self.exchange, key)
        if signed is None:
            return None
        admitted = self.state.members.get(member)
        body = verify(kind, signed, admitted.public_key if admitted else None)
        for name, expected in (("version", 1), ("run_id", self.state.run_id), ("member", member)):
            if body.get(name) != expected:
                raise ProtocolError(
                    f"the {kind} of {member} has {name} {str(body.get(name))[:40]!r} "
                    f"instead of {str(expected)[:40]!r}"
                )
        return signed

    # Phases

    def step(self) -> bool:
        """Do the next thing. Returns whether there was anything to do."""
        action = {
            "joining": self._admit,
            "counting": self._prepare,
            "training": self._round,
            "validating": self._select,
            "testing": self._collect_test,
            "closing": self._close,
        }.get(self.state.phase)
        return action is not None and action()

    def _admit(self) -> bool:
        state = self.state
        moved = False
        for member in sorted(set(state.expected) - set(state.members)):
            join = self._fetch_signed(f"join/{member}", "join", member)
            if join is None:
                continue
            check_join(join, state)
            self._append("member_admitted", {"join": join})
            self._log("admitted", member=member)
            moved = True
        if len(state.members) < state.quorum:
            return moved
        self._append(
            "recipe_active",
            {"recipe_sha256": state.recipe_sha256, "signed_by": sorted(state.members)},
        )
        return True

    def _prepare(self) -> bool:
        """Agree on the tokenizer, and put the first weights into the exchange."""
        state, recipe = self.state, self.recipe
        told: dict[str, JSON] = {}
        if recipe.model.base:
            with self.clock("preparation"):
                tokenizer_bytes, origin, model = from_base(recipe)
                self._agree_tokenizer(tokenizer_bytes, told)
        else:
            counts = self._collect_counts(told)
            if counts is None:
                return False
            with self.clock("preparation"):
                if not state.tokenizer_sha256:
                    tokenizer = train_joint_tokenizer(counts, recipe)
                    self._agree_tokenizer(tokenizer_to_bytes(tokenizer), told)
                tokenizer_bytes = get_blob(self.exchange, state.tokenizer_sha256)
                origin = NEW
                model = new_model(recipe, Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes)))
        with self.clock("preparation"):
            body = pin_model(model, origin, self.exchange, recipe.seed)
            self._append("model_initialised", body)
        self._log(
            "prepared", parameters=body["parameters"], tokenizer=state.tokenizer_sha256, told=told
        )
        return True

    def _collect_counts(self, told: dict[str, JSON]) -> list[dict[str, int]] | None:
        """The members' piece counts, and into `told` what they report; None: one is missing."""
        counts = []
        for member in sorted(self.state.members):
            signed = self._fetch_signed(f"counts/{member}", "counts", member)
            if signed is None:
                return None
            try:
                check_counts(signed)
                with self.clock("preparation"):
                    blob = get_blob(self.exchange, signed["counts_sha256"])
                    counts.append(
                        counts_from_bytes(blob, threshold=self.recipe.tokenizer.threshold)
                    )
            except ProtocolError as error:
                raise ProtocolError(f"counts of {member}: {error}") from error
            told[member] = {**signed["report"], "counts_sha256": signed["counts_sha256"]}
        return counts

    def _agree_tokenizer(self, tokenizer_bytes: bytes, told: dict[str, JSON]) -> None:
        digest = put_blob(self.exchange, tokenizer_bytes)
        if self.state.tokenizer_sha256 not in ("", digest):
            raise ProtocolError(
                f"the tokenizer of {self.recipe.model.base} has changed since the run was opened: "
                "restore it; a run keeps its base"
            )
        if not self.state.tokenizer_sha256:
            self._append(
                "tokenizer_agreed",
                {
                    "tokenizer_sha256": digest,
                    "vocabulary_size": tokenizer_from_bytes(tokenizer_bytes).get_vocab_size(),
                    "threshold": self.recipe.tokenizer.threshold,
                    "counts": told,
                },
            )

    # Rounds

    def _round(self) -> bool:
        state = self.state
        if not state.is_open:
            self._append(
                "round_opened",
                {
                    "round": state.round + 1,
                    "base_sha256": state.base_sha256,
                    "members": sorted(state.members),
                },
            )
            return True
        moved = False
        for member in sorted(set(state.members) - set(state.updates) - set(state.refused)):
            moved = self._receive(member) or moved
        if len(state.updates) + len(state.refused) < len(state.members):
            return moved
        if state.must_validate(state.round - 1) and state.round - 1 not in state.validation:
            self._record_evaluations("evaluated", "validation", state.round - 1)
        self._merge()
        return True

    def _receive(self, member: str) -> bool:
        state = self.state
        key = update_key(state.round, member)
        signed: JSON | None = None
        try:
            signed = self._fetch_signed(key, "update", member)
            if signed is None:
                return False
            if "declined" in signed:
                check_declined(signed, self.state)
                self._append("update_declined", {"update": signed})
            else:
                check_update(signed, self.state, self.recipe)
                if signed["ledger_head"] not in self._heads:
                    raise ProtocolError("ledger_head is of another ledger than this one")
                self._delta(signed)
                self._append("update_accepted", {"update": signed})
        except ProtocolError as error:
            data = self.exchange.get(key) or b""
            self._append(
                "update_rejected",
                {
                    "member": member,
                    "round": state.round,
                    "manifest_sha256": sha256_hex(data),
                    "reason": str(error),
                },
            )
            self._log("rejected", member=member, round=state.round, reason=str(error))
        return True

    def _delta(self, update: JSON) -> Vector:
        digest = update["update_sha256"]
        if digest not in self._vectors:
            with self.clock("exchange"):
                data = get_blob(self.exchange, digest)
            with self.clock("compression"):
                self._vectors[digest] = CODECS[update["codec"]].decode(data, update["values"])
        return self._vectors[digest]

    def _stored(self, digest: str) -> Vector:
        """Weights or outer state."""
        if digest not in self._vectors:
            data = get_blob(self.exchange, digest)
            self._vectors[digest] = vector_from_bytes(data, self.state.layout.size)
        return self._vectors[digest]

    def _merge(self) -> None:
        state = self.state
        number, updates = state.round, state.updates
        shares = normalised_weights(
            {m: u["tokens"] for m, u in updates.items()}, self.recipe.aggregation.weighting
        )
        contributions = [Contribution(m, shares[m], self._delta(u)) for m, u in updates.items()]
        with self.clock("merge"):
            before = {name: self._stored(digest) for name, digest in state.outer.items()}
            base = self._stored(state.base_sha256)
            merged, outer = self.strategy.merge(base, contributions, before)
        with self.clock("checkpoint"):
            digest = put_blob(self.exchange, vector_to_bytes(merged))
            outer_sha256 = {
                name: put_blob(self.exchange, vector_to_bytes(values))
                for name, values in outer.items()
            }
        stale = set(state.outer.values())
        self._append(
            "merged",
            {
                "round": number,
                "updates": {m: u["update_sha256"] for m, u in updates.items()},
                "weights": {m: share.hex() for m, share in shares.items()},
                "weights_sha256": digest,
                "outer_sha256": outer_sha256,
            },
        )
        self._vectors = {digest: merged, **{outer_sha256[name]: v for name, v in outer.items()}}
        self._forget(stale - set(outer_sha256.values()), updates)
        tokens = sum(u["tokens"] for u in updates.values())
        self._log(
            "round",
            round=number,
            loss_nats_per_token=(
                sum(u["loss_nats_per_token"] * u["tokens"] for u in updates.values()) / tokens
                if tokens
                else None
            ),
            tokens=tokens,
            bytes_sent={m: u["bytes"] for m, u in updates.items()},
            refused=state.refused,
            bits_per_byte=state.means.get(number - 1),
        )
        self._empty_rounds = 0 if updates else self._empty_rounds + 1
        if self._empty_rounds >= MOST_EMPTY_ROUNDS:
            reasons = "; ".join(f"{m}: {r}" for m, r in sorted(state.refused.items()))
            raise ProtocolError(
                f"no usable update in {MOST_EMPTY_ROUNDS} rounds in a row ({reasons}): "
                "mend the cause and resume"
            )

    def _forget(self, stale: set[str], updates: dict[str, JSON]) -> None:
        """Delete weights that no round, selection or proof needs any more."""
        state = self.state
        needed = {0, state.round, state.round - 1}
        if state.means:
            needed.add(state.best_round())
        # The weights of the round before were just scored or still wait to be.
        kept = {state.weights[r] for r in needed}
        for number in range(1, state.round - 1):
            if state.weights[number] not in kept:
                self.exchange.delete(f"blobs/{state.weights[number]}")
        for digest in stale - kept:
            self.exchange.delete(f"blobs/{digest}")
        if not self.recipe.publication.keep_updates:
            needed_blobs = kept | set(state.outer.values())
            needed_blobs |= {state.config_sha256, state.frozen_sha256, state.tokenizer_sha256}
            for update in updates.values():
                # A member may have named any blob as its update: none that is needed goes.
                if update["update_sha256"] not in needed_blobs:
                    self.exchange.delete(f"blobs/{update['update_sha256']}")

    # Evaluation, selection, closing

    def _evaluations(self, split: str, number: int) -> tuple[list[JSON], list[JSON]]:
        """The members' signed evaluations, and which malformed ones are left out, and why."""
        found, left_out = [], []
        for member in sorted(self.state.members):
            key = evaluation_key(split, number, member)
            try:
                signed = self._fetch_signed(key, "evaluation", member)
                if signed is None:
                    continue
                check_evaluation(signed, split, number, self.state.weights[number])
                found.append(signed)
            except ProtocolError as error:
                digest = sha256_hex(self.exchange.get(key) or b"")
                left_out.append({"member": member, "manifest_sha256": digest, "reason": str(error)})
                self._log("evaluation left out", member=member, round=number, reason=str(error))
        return found, left_out

    def _record_evaluations(self, kind: str, split: str, number: int) -> None:
        evaluations, left_out = self._evaluations(split, number)
        self._append(
            kind,
            {
                "round": number,
                "weights_sha256": self.state.weights[number],
                "evaluations": evaluations,
                "left_out": left_out,
                "mean_bits_per_byte": mean_bits_per_byte([e["scores"] for e in evaluations]),
            },
        )

    def _have_all(self, split: str, number: int) -> bool:
        return all(
            self.exchange.get(evaluation_key(split, number, member)) is not None
            for member in self.state.members
        )

    def _select(self) -> bool:
        state = self.state
        if state.rounds not in state.validation:
            if not self._have_all("validation", state.rounds):
                return False
            self._record_evaluations("evaluated", "validation", state.rounds)
        is_best = self.recipe.evaluation.select == "best" and bool(state.means)
        number = state.best_round() if is_best else state.rounds
        self._append("selected", {"round": number, "weights_sha256": state.weights[number]})
        self._log("selected", round=number, bits_per_byte=state.means.get(number))
        return True

    def _collect_test(self) -> bool:
        state = self.state
        assert state.selected is not None
        if not self._have_all("test", state.selected):
            return False
        self._record_evaluations("tested", "test", state.selected)
        self._log("tested", scores=state.test)
        return True

    def record_comparison(self, comparison: JSON, files: dict[str, str]) -> None:
        """Enter the comparison and the sha256 of its files, by their path in the run folder."""
        self._append("compared", {**comparison, "files": files})

    def record_published(self, files: dict[str, str], adapter: dict[str, str]) -> None:
        """Enter the sha256 of every file of the model folder, and of the adapter's if any."""
        assert self.state.selected is not None
        body: JSON = {"files": files, "weights_sha256": self.state.weights[self.state.selected]}
        if adapter:
            body["adapter"] = adapter
        self._append("published", body)

    def _close(self) -> bool:
        statements = []
        for member in sorted(self.state.members):
            signed = self._fetch_signed(f"closing/{member}", "closing", member)
            if signed is None:
                return False
            if signed.get("head") != self.state.head:
                raise ProtocolError(f"{member} signed off another ledger than this one")
            statements.append(signed)
        self._append("closed", {"statements": statements})
        self._log("closed")
        return True
