"""A member of a joint run: reads its own text, trains on it, and sends signed updates.

`Member.step` does the next thing that the ledger calls for, if there is one, and returns; whoever
drives it (one process for all, a process each, a service) calls it again and again. What must
survive a crash lies in the member's home:

    key.pem                 its Ed25519 key (0600)
    recipe.toml             the recipe as this member agreed to it
    ledger.jsonl            its own copy of the ledger
    state-00007.safetensors optimizer state at the start of round 7
    log.jsonl               losses and times
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from llmos.errors import DataError, ProtocolError, TrainingError
from llmos.federation.checks import LONGEST_REASON
from llmos.federation.compression import CODECS, encode_with_feedback
from llmos.federation.origin import origin_of
from llmos.federation.protocol import (
    WIRE_VERSION,
    Exchange,
    evaluation_key,
    get_blob,
    ledger_key,
    post,
    put_blob,
    update_key,
)
from llmos.federation.timing import Stopwatch
from llmos.models.arrays import Vector, get_weights, set_weights, vector_from_bytes
from llmos.models.disclosure import counts_to_bytes
from llmos.provenance.ledger import parse_entry
from llmos.provenance.run_state import RunState
from llmos.provenance.signing import open_key, sign
from llmos.recipe import load_recipe
from llmos.records import JSON, append_jsonl
from llmos.storage import sha256_hex, storage_errors, write_atomic
from llmos.training.disclosed import disclosed_counts
from llmos.training.loop import Trainer
from llmos.training.material import Material
from llmos.training.workbench import Workbench


class Member:
    """One member of a run. `data` is the folder or file with its text."""

    def __init__(
        self,
        home: Path,
        name: str,
        data: Path,
        exchange: Exchange,
        listener: Callable[[JSON], None] = lambda event: None,
        material: Material | None = None,
    ) -> None:
        self.home = home
        self.name = name
        self.data = data
        self.exchange = exchange
        self.listener = listener
        self.clock = Stopwatch()
        self.recipe = load_recipe(home / "recipe.toml")
        self.key = open_key(home / "key.pem")
        self.state = RunState()
        self._material = material
        self._bench: Workbench | None = None
        self._trainer: Trainer | None = None
        self._trainer_round = 0
        self._residual: Vector | None = None
        self._read_own_ledger()

    # The ledger, and what it calls for

    def _read_own_ledger(self) -> None:
        path = self.home / "ledger.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for line in lines:
            self._take(line)
        # A line torn by a crash is rewritten whole when it is read from the exchange again.
        if path.exists():
            write_atomic(path, b"".join(line + b"\n" for line in lines), durable=False)

    def _take(self, line: bytes) -> None:
        state = self.state
        entry = parse_entry(line, state.entries, state.head, state.coordinator or None)
        state.apply(entry)

    def _sync(self) -> bool:
        moved = False
        while (line := self.exchange.get(ledger_key(self.state.entries))) is not None:
            self._take(line)
            path = self.home / "ledger.jsonl"
            with storage_errors(path), path.open("ab") as file:
                file.write(line + b"\n")
            moved = True
        return moved

    def step(self) -> bool:
        """Do the next thing. Returns whether there was anything to do."""
        with self.clock("exchange"):
            moved = self._sync()
        action = {
            "joining": self._join,
            "counting": self._count,
            "training": self._round,
            "validating": self._validate_last,
            "testing": self._test,
            "closing": self._close,
        }.get(self.state.phase)
        return (action is not None and action()) or moved

    def _post(self, key: str, kind: str, body: JSON) -> None:
        body = {"version": WIRE_VERSION, "run_id": self.state.run_id, "member": self.name, **body}
        with self.clock("exchange"):
            post(self.exchange, key, sign(self.key, kind, body))

    def _log(self, event: str, **facts: Any) -> None:
        record = {"event": event, "member": self.name, **facts, "seconds": self.clock.take()}
        append_jsonl(self.home / "log.jsonl", record)
        self.listener(record)

    # Before training

    @property
    def material(self) -> Material:
        if self._material is None:
            with self.clock("preparation"):
                self._material = Material(self.data, self.recipe)
        admitted = self.state.members.get(self.name)
        if admitted is not None and admitted.card_sha256 != self._material.card_sha256:
            raise DataError(
                f"the text in {self.data} is not the one that {self.name} joined with: "
                "restore it; a run keeps its text"
            )
        return self._material

    def _join(self) -> bool:
        key = f"join/{self.name}"
        if self.name in self.state.members or self.exchange.get(key) is not None:
            return False
        if self.state.recipe_sha256 != self.recipe.sha256():
            raise ProtocolError(
                f"the coordinator opened a run of recipe {self.state.recipe_sha256[:16]}, but "
                f"member {self.name!r} agreed to {self.recipe.sha256()[:16]}: compare the two "
                "with llmos recipe diff"
            )
        self._post(
            key,
            "join",
            {
                "recipe_sha256": self.recipe.sha256(),
                "card_sha256": self.material.card_sha256,
                "card": self.material.card,
            },
        )
        self._log("joined")
        return True

    def _count(self) -> bool:
        key = f"counts/{self.name}"
        if self.recipe.model.base:
            return False  # its tokenizer is there already, so nothing of the text is asked for
        if self.name not in self.state.members or self.state.tokenizer_sha256:
            return False
        if self.exchange.get(key) is not None:
            return False
        with self.clock("preparation"):
            counts, found = disclosed_counts(self.material, self.recipe.tokenizer)
            report = found.to_json()
            blob = put_blob(self.exchange, counts_to_bytes(counts))
        self._post(key, "counts", {"counts_sha256": blob, "report": report})
        self._log("counted", report=report)
        return True

    @property
    def bench(self) -> Workbench:
        if self._bench is None:
            with self.clock("preparation"):
                tokenizer = get_blob(self.exchange, self.state.tokenizer_sha256)
                origin = origin_of(self.state, self.exchange)
                self._bench = Workbench(self.recipe, self.material, tokenizer, origin)
        return self._bench

    # Training

    def _load_weights(self, digest: str) -> Vector:
        with self.clock("exchange"):
            data = get_blob(self.exchange, digest)
            weights = vector_from_bytes(data, self.state.layout.size)
        set_weights(self.bench.model, weights)
        return weights

    def _evaluate(self, split: str, round_number: int) -> bool:
        key = evaluation_key(split, round_number, self.name)
        if self.exchange.get(key) is not None:
            return False
        with self.clock("evaluation"):
            scores = self.bench.score(split).sums()
        if not math.isfinite(scores["nll_nats"]):
            scores["nll_nats"] = None  # weights that diverged: the coordinator leaves it out
        digest = self.state.weights[round_number]
        self._post(
            key,
            "evaluation",
            {"split": split, "round": round_number, "weights_sha256": digest, "scores": scores},
        )
        return True

    def _round(self) -> bool:
        state = self.state
        key = update_key(state.round, self.name)
        if not state.is_open or self.name in state.refused or self.name in state.updates:
            return False
        if self.name not in state.members or self.exchange.get(key) is not None:
            return False
        base = self._load_weights(state.base_sha256)
        if state.must_validate(state.round - 1):
            self._evaluate("validation", state.round - 1)
        try:
            body = self._train(base)
        except (TrainingError, ProtocolError) as error:
            self._trainer = None  # its moments are spoilt; the next round loads the saved ones
            self._keep_state(state.round)
            body = {"declined": str(error)[:LONGEST_REASON]}
        self._post(
            key,
            "update",
            {
                "recipe_sha256": state.recipe_sha256,
                "tokenizer_sha256": state.tokenizer_sha256,
                "card_sha256": self.material.card_sha256,
                "round": state.round,
                "base_sha256": state.base_sha256,
                "ledger_head": state.head,
                **body,
            },
        )
        facts = {
            k: body[k] for k in ("loss_nats_per_token", "tokens", "bytes", "declined") if k in body
        }
        self._log("trained", round=state.round, **facts)
        return True

    def _train(self, base: Vector) -> JSON:
        """Train this round's steps, save the state they lead to, and describe the update."""
        recipe, number = self.recipe, self.state.round
        steps = recipe.rounds.local_steps
        trainer, continued = self._ready_trainer(number)
        with self.clock("training"):
            report = trainer.run(steps)
        codec = recipe.compression.codec
        with self.clock("compression"):
            delta = base - get_weights(self.bench.model)
            data, self._residual = encode_with_feedback(CODECS[codec], delta, self._residual)
        with self.clock("checkpoint"):
            self._save_state(number + 1)
        with self.clock("exchange"):
            blob = put_blob(self.exchange, data)
        return {
            "codec": codec,
            "values": len(base),
            "bytes": len(data),
            "update_sha256": blob,
            "tokens": report.tokens,
            "steps": report.steps,
            "loss_nats_per_token": report.loss,
            "update_norm": math.sqrt(float(np.square(delta, dtype=np.float64).sum())),
            "optimizer_continued": continued,
        }

    def _ready_trainer(self, number: int) -> tuple[Trainer, bool]:
        """The trainer as it stood at the end of the round before, and whether that was possible."""
        recipe = self.recipe
        trainer, continued = self._trainer, True
        if trainer is None or self._trainer_round != number:
            trainer = self.bench.trainer(recipe.rounds.count * recipe.rounds.local_steps)
            self._residual = None
            with self.clock("checkpoint"):
                continued = number == 1 or self._load_state(trainer, number)
        trainer.step = (number - 1) * recipe.rounds.local_steps
        self._trainer, self._trainer_round = trainer, number + 1
        return trainer, continued

    def _state_path(self, number: int) -> Path:
        return self.home / f"state-{number:05d}.safetensors"

    def _save_state(self, number: int) -> None:
        assert self._trainer is not None
        arrays = self._trainer.state()
        if self._residual is not None:
            arrays["residual"] = self._residual
        data = save_safetensors(arrays)
        # Not fsynced: a power cut may cost the moments of one round, which the update then says.
        write_atomic(self._state_path(number), sha256_hex(data).encode() + data, durable=False)
        self._state_path(number - 2).unlink(missing_ok=True)

    def _keep_state(self, number: int) -> None:
        """The state before a round in which nothing was learned is the state after it."""
        path = self._state_path(number)
        if path.exists():
            write_atomic(self._state_path(number + 1), path.read_bytes(), durable=False)

    def _load_state(self, trainer: Trainer, number: int) -> bool:
        path = self._state_path(number)
        try:
            stored = path.read_bytes()
            digest, data = stored[:64].decode(), stored[64:]
            if sha256_hex(data) != digest:
                raise ValueError("its sha256 differs")
            arrays = load_safetensors(data)
        except (OSError, ValueError, SafetensorError) as error:
            self._log("state lost", round=number, reason=f"{path}: {error}")
            return False
        self._residual = arrays.pop("residual", None)
        trainer.load_state(arrays)
        return True

    # After training

    def _validate_last(self) -> bool:
        return self._evaluate_at("validation", self.state.rounds)

    def _test(self) -> bool:
        assert self.state.selected is not None
        return self._evaluate_at("test", self.state.selected)

    def _evaluate_at(self, split: str, round_number: int) -> bool:
        key = evaluation_key(split, round_number, self.name)
        if self.name not in self.state.members or self.exchange.get(key) is not None:
            return False
        self._load_weights(self.state.weights[round_number])
        done = self._evaluate(split, round_number)
        self._log(f"scored {split}", round=round_number)
        return done

    def _close(self) -> bool:
        key = f"closing/{self.name}"
        if self.name not in self.state.members or self.exchange.get(key) is not None:
            return False
        self._post(key, "closing", {"head": self.state.head, "entries": self.state.entries})
        self._log("signed off")
        return True
