"""What a commit to main brings that is ours: a run's recipe and ledger, signed results, the hash
by which a model or a data set is known. Called from the index, within the commit's transaction."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, Row, update

from llmos.errors import ProtocolError
from llmos.hub.database.connection import now
from llmos.hub.database.tables import repos, runs
from llmos.hub.errors import HubError, conflict
from llmos.hub.git import trees
from llmos.hub.hub import Hub
from llmos.hub.runs.examining import LARGEST
from llmos.hub.runs.harvest import RESULTS, harvest
from llmos.hub.runs.records import LEDGER, RECIPE, index_recipe, rewritten, run_row
from llmos.provenance.results import MODEL_FILES, model_digest
from llmos.records import canonical_json
from llmos.storage import sha256_hex

DATA_CARD = "card.json"
LARGEST_RECIPE = 1 << 20
LARGEST_CARD = 1 << 20
NOT_CHECKED = "not checked yet"
MOST_FILES = 2000  # in the root; a folder with more is no model of ours


def notice(hub: Hub, connection: Connection, repo: Row[Any], root: trees.Tree) -> None:
    """Take in what is new since the last time. `repo` is the repository's row, `root` the folder
    at the head of main.

    Raises `HubError` 409 for a run whose recipe or ledger would be replaced by another, which
    undoes the commit; 422 for a recipe that does not hold.
    """
    model = _model_sha256(root) if repo.kind == "model" else ""
    own = [root[name].key for name in (RECIPE, LEDGER, RESULTS, DATA_CARD) if name in root]
    seen = hashlib.sha256("\n".join([model, *own]).encode()).hexdigest()
    if repo.noticed == seen:
        return
    content = _card_sha256(hub, root) if repo.kind == "dataset" else model
    if repo.kind == "run":
        _notice_run(hub, connection, repo, root)
    if repo.kind == "model":
        harvest(hub, connection, repo, root, content)
    values = {"noticed": seen, "content_sha256": content}
    connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))


def _model_sha256(root: trees.Tree) -> str:
    """The hash by which results name a model; "" where the files are none."""
    if len(root) > MOST_FILES:
        return ""
    files = {
        name: entry.key
        for name, entry in root.items()
        if not entry.directory and name.endswith(MODEL_FILES)
    }
    return model_digest(files) if files else ""


def _card_sha256(hub: Hub, root: trees.Tree) -> str:
    """The hash by which ledgers name a member's data: of card.json in canonical form."""
    card = root.get(DATA_CARD)
    if card is None or card.directory or card.size > LARGEST_CARD:
        return ""
    try:
        return sha256_hex(canonical_json(json.loads(b"".join(hub.blobs.read(card.key)))))
    except (ValueError, RecursionError, ProtocolError):
        return ""


def _notice_run(hub: Hub, connection: Connection, repo: Row[Any], root: trees.Tree) -> None:
    recipe, run = root.get(RECIPE), run_row(connection, repo.id)
    if recipe is not None and not recipe.directory and recipe.size <= LARGEST_RECIPE:
        text = b"".join(hub.blobs.read(recipe.key)).decode(errors="replace")
        index_recipe(connection, repo, text)
    elif run is not None:
        raise conflict(f"{repo.full_name} keeps its recipe: it cannot be taken out")
    run, ledger = run_row(connection, repo.id), root.get(LEDGER)
    if run is None or (ledger.key if ledger else "") == run.ledger_blob:
        return
    if ledger is not None and ledger.size > LARGEST:
        raise HubError(413, f"A ledger has at most {LARGEST:,} bytes")
    before = b"".join(hub.blobs.read(run.ledger_blob)) if run.ledger_blob else b""
    content = b"".join(hub.blobs.read(ledger.key)) if ledger and not ledger.directory else b""
    if not content.startswith(before):
        raise rewritten(repo)
    values = {"verified": None, "verdict": NOT_CHECKED, "updated_at": now()}
    connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
