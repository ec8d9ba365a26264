"""The end of a run on one machine: compare, write the model folder and its card, enter both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from llmos.federation.compare import Comparison
from llmos.federation.coordinator import Coordinator
from llmos.federation.model_card import make_card
from llmos.federation.protocol import get_blob
from llmos.federation.report import traffic
from llmos.models.arrays import Vector, set_weights, vector_from_bytes
from llmos.models.publish import write_model_folder
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.provenance.cards import render_card
from llmos.records import JSON
from llmos.storage import sha256_file, write_atomic
from llmos.training.material import Material
from llmos.training.workbench import Workbench, new_model


def finish(coordinator: Coordinator, members: Mapping[str, str], *, compare: bool) -> None:
    """Take a run from phase publishing to phase closing. Repeated after a crash, it goes on."""
    state, folder, recipe = coordinator.state, coordinator.folder, coordinator.recipe
    assert state.selected is not None
    tokenizer_bytes = get_blob(coordinator.exchange, state.tokenizer_sha256)
    published = _weights(coordinator, state.selected)
    if compare and state.comparison is None:
        with coordinator.clock("comparison"):
            result = _compare(coordinator, members, tokenizer_bytes, published)
        write_atomic(folder / "comparison.json", json.dumps(result, indent=1).encode())
        paths = [folder / "comparison.json", *sorted((folder / "compare").glob("*.json"))]
        files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}
        coordinator.record_comparison(result, files)
    with coordinator.clock("publication"):
        model = folder / "model"
        shutil.rmtree(model, ignore_errors=True)  # what a crash may have left half written
        words = Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes))
        trained = new_model(recipe, words)
        set_weights(trained, published)
        write_model_folder(model, trained, words, recipe.model.context_length)
        card = make_card(recipe, state, coordinator.ledger.entries)
        write_atomic(model / "README.md", render_card(card).encode())
        write_atomic(model / "recipe.toml", (folder / "recipe.toml").read_bytes())
        for path in sorted(model.iterdir()):
            with path.open("rb") as file:  # transformers does not wait for the disk
                os.fsync(file.fileno())
        files = {path.name: sha256_file(path) for path in sorted(model.iterdir())}
    coordinator.record_published(files)


def _weights(coordinator: Coordinator, round_number: int) -> Vector:
    data = get_blob(coordinator.exchange, coordinator.state.weights[round_number])
    return vector_from_bytes(data, coordinator.state.layout.size)


def _compare(
    coordinator: Coordinator,
    members: Mapping[str, str],
    tokenizer_bytes: bytes,
    published: Vector,
) -> JSON:
    recipe = coordinator.recipe
    benches = {
        name: Workbench(recipe, Material(Path(path), recipe), tokenizer_bytes)
        for name, path in members.items()
    }
    comparison = Comparison(
        recipe,
        benches,
        initial=_weights(coordinator, 0),
        published=published,
        folder=coordinator.folder / "compare",
        listener=coordinator.listener,
    )
    return {**comparison.run(), "traffic": traffic(recipe, coordinator.ledger.entries)}
