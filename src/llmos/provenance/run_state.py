"""The state of a joint run, as a fold over its ledger.

Coordinator and members both hold a `RunState` and feed it every ledger entry in order; nothing
else decides what happens next, so a restart is a replay.

    phase       ends with the entry      what is awaited
    joining     recipe_active            signed joins of the members named
    counting    model_initialised        piece counts (none for a base); tokenizer, first weights
    training    merged (last round)      each round: evaluations and updates
    validating  selected                 evaluations of the last weights
    testing     tested                   evaluations of the selected weights on test text
    publishing  published                the coordinator writes the model folder
    closing     closed                   signed closing statements
    closed      -
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmos.errors import LedgerError, ProtocolError
from llmos.provenance.layout import Layout
from llmos.provenance.ledger import Entry
from llmos.records import JSON

_PHASE_OF = {
    "run_opened": "opening",
    "member_admitted": "joining",
    "recipe_active": "joining",
    "tokenizer_agreed": "counting",
    "model_initialised": "counting",
    "round_opened": "training",
    "update_accepted": "training",
    "update_rejected": "training",
    "update_declined": "training",
    "merged": "training",
    "selected": "validating",
    "tested": "testing",
    "compared": "publishing",
    "published": "publishing",
    "closed": "closing",
}
"""The phase in which an entry of a kind can stand; `evaluated` stands in two."""


@dataclass(frozen=True)
class Admission:
    """A member as it was admitted."""

    name: str
    public_key: str
    card_sha256: str
    card: JSON


@dataclass
class RunState:
    """What the entries so far say. Changed by `apply` alone."""

    phase: str = "opening"
    run_id: str = ""
    recipe_sha256: str = ""
    coordinator: str = ""
    expected: tuple[str, ...] = ()
    quorum: int = 0
    rounds: int = 0
    evaluate_every: int = 1
    members: dict[str, Admission] = field(default_factory=dict)
    tokenizer_sha256: str = ""
    layout: Layout = field(default_factory=lambda: Layout(()))
    config_sha256: str = ""  # config.json of the base, where there is one
    frozen_sha256: str = ""  # the weights that are not trained, where there are any
    frozen_values: int = 0
    weights: dict[int, str] = field(default_factory=dict)  # round -> sha256 of the merged weights
    outer: dict[str, str] = field(default_factory=dict)  # name -> sha256, after the last merge
    round: int = 0  # the round that is open, or was merged last
    is_open: bool = False
    updates: dict[str, JSON] = field(default_factory=dict)  # accepted in the open round
    refused: dict[str, str] = field(default_factory=dict)  # rejected or declined in it: reason
    validation: dict[int, dict[str, JSON]] = field(default_factory=dict)  # round -> member -> sums
    means: dict[int, float] = field(default_factory=dict)  # round -> mean bits per byte
    selected: int | None = None
    test: dict[str, JSON] = field(default_factory=dict)
    comparison: JSON | None = None
    files: dict[str, str] = field(default_factory=dict)  # of the model folder: name -> sha256
    adapter: dict[str, str] = field(default_factory=dict)  # of the adapter's folder
    entries: int = 0
    head: str = "0" * 64

    @property
    def base_sha256(self) -> str:
        """sha256 of the weights that the open round starts from (or the last ones)."""
        return self.weights[self.round - 1 if self.is_open else self.round]

    def must_validate(self, round_number: int) -> bool:
        """Whether the weights after `round_number` are validated."""
        return round_number % self.evaluate_every == 0 or round_number == self.rounds

    def best_round(self) -> int:
        """The validated round with the lowest mean bits per byte (the earliest of equals)."""
        return min(self.means, key=lambda r: (self.means[r], r))

    def apply(self, entry: Entry) -> None:
        """Take in the next entry. Raises `LedgerError` for one that cannot stand here."""
        handler = getattr(self, f"_on_{entry.kind}", None)
        phase = _PHASE_OF.get(entry.kind, self.phase)
        if handler is None or entry.index != self.entries or phase != self.phase:
            raise LedgerError(
                f"entry {entry.index} ({entry.kind!r}) does not follow entry {self.entries - 1}: "
                "the ledger was written by a newer llmos or changed; run llmos verify"
            )
        try:
            handler(entry.body)
        except (KeyError, TypeError, ValueError, AttributeError, ProtocolError) as error:
            raise LedgerError(
                f"entry {entry.index} ({entry.kind!r}) lacks or misstates {error}: run llmos verify"
            ) from error
        if entry.index == 0:
            self.run_id, self.coordinator = entry.hash, entry.signer
        self.entries += 1
        self.head = entry.hash

    def _on_run_opened(self, body: dict[str, Any]) -> None:
        self.recipe_sha256 = body["recipe_sha256"]
        self.expected = tuple(body["members"])
        self.quorum = int(body["quorum"])
        self.rounds = int(body["rounds"])
        self.evaluate_every = int(body["evaluate_every"])
        self.phase = "joining"

    def _on_member_admitted(self, body: dict[str, Any]) -> None:
        join = body["join"]
        self.members[join["member"]] = Admission(
            join["member"], join["signer"], join["card_sha256"], join["card"]
        )

    def _on_recipe_active(self, body: dict[str, Any]) -> None:
        self.phase = "counting"

    def _on_tokenizer_agreed(self, body: dict[str, Any]) -> None:
        self.tokenizer_sha256 = body["tokenizer_sha256"]

    def _on_model_initialised(self, body: dict[str, Any]) -> None:
        self.layout = Layout.from_json(body["layout"])
        self.weights[0] = body["weights_sha256"]
        # Ledgers of runs that train a new model whole have none of these.
        self.config_sha256 = body.get("config_sha256", "")
        self.frozen_sha256 = body.get("frozen_sha256", "")
        self.frozen_values = int(body.get("frozen_values", 0))
        self.phase = "training"

    def _on_round_opened(self, body: dict[str, Any]) -> None:
        self.round, self.is_open = int(body["round"]), True
        self.updates, self.refused = {}, {}

    def _on_update_accepted(self, body: dict[str, Any]) -> None:
        self.updates[body["update"]["member"]] = body["update"]

    def _on_update_rejected(self, body: dict[str, Any]) -> None:
        self.refused[body["member"]] = body["reason"]

    def _on_update_declined(self, body: dict[str, Any]) -> None:
        self.refused[body["update"]["member"]] = body["update"]["declined"]

    def _on_evaluated(self, body: dict[str, Any]) -> None:
        scores = {e["member"]: e["scores"] for e in body["evaluations"]}
        self.validation[int(body["round"])] = scores
        if body["mean_bits_per_byte"] is not None:
            self.means[int(body["round"])] = float(body["mean_bits_per_byte"])

    def _on_merged(self, body: dict[str, Any]) -> None:
        self.weights[int(body["round"])] = body["weights_sha256"]
        self.outer = dict(body["outer_sha256"])
        self.is_open = False
        if self.round == self.rounds:
            self.phase = "validating"

    def _on_selected(self, body: dict[str, Any]) -> None:
        self.selected = int(body["round"])
        self.phase = "testing"

    def _on_tested(self, body: dict[str, Any]) -> None:
        self.test = {e["member"]: e["scores"] for e in body["evaluations"]}
        self.phase = "publishing"

    def _on_compared(self, body: dict[str, Any]) -> None:
        self.comparison = body

    def _on_published(self, body: dict[str, Any]) -> None:
        self.files = dict(body["files"])
        self.adapter = dict(body.get("adapter", {}))
        self.phase = "closing"

    def _on_closed(self, body: dict[str, Any]) -> None:
        self.phase = "closed"
