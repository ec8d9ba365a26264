"""The end of a run on one machine: compare, write the model folder and its card, enter both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmos.federation.compare import Comparison
from llmos.federation.coordinator import Coordinator
from llmos.federation.model_card import make_card
from llmos.federation.origin import origin_of
from llmos.federation.protocol import get_blob
from llmos.federation.report import traffic
from llmos.models.arrays import Vector, set_weights, vector_from_bytes
from llmos.models.lora import merged, save_adapter
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.records import JSON
from llmos.storage import sha256_file, write_atomic
from llmos.training.material import Material
from llmos.training.objectives import make_objective
from llmos.training.outcome import sync_folder, write_outcome
from llmos.training.workbench import Origin, Workbench, new_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def finish(coordinator: Coordinator, members: Mapping[str, str], *, compare: bool) -> None:
    """Take a run from phase publishing to phase closing. Repeated after a crash, it goes on."""
    state, folder, recipe = coordinator.state, coordinator.folder, coordinator.recipe
    assert state.selected is not None
    tokenizer_bytes = get_blob(coordinator.exchange, state.tokenizer_sha256)
    origin = origin_of(state, coordinator.exchange)
    published = _weights(coordinator, state.selected)
    if compare and state.comparison is None:
        with coordinator.clock("comparison"):
            result = _compare(coordinator, members, tokenizer_bytes, origin, published)
        write_atomic(folder / "comparison.json", json.dumps(result, indent=1).encode())
        paths = [folder / "comparison.json", *sorted((folder / "compare").glob("*.json"))]
        files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}
        coordinator.record_comparison(result, files)
    with coordinator.clock("publication"):
        words = Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes), origin.config)
        trained = new_model(recipe, words, origin)
        set_weights(trained, published)
        plain = merged(trained)
        head = make_objective(recipe, words).head
        card = make_card(recipe, state, coordinator.ledger.entries, plain, head)
        files = write_outcome(folder / "model", plain, words, recipe, card)
        adapter = _write_adapter(folder / "adapter", trained, recipe)
    coordinator.record_published(files, adapter)


def _write_adapter(folder: Path, model: PreTrainedModel, recipe: Recipe) -> dict[str, str]:
    """Save what was trained alone, where that is an adapter; the sha256 of each file."""
    if recipe.training.method != "lora":
        return {}
    shutil.rmtree(folder, ignore_errors=True)  # what a crash may have left half written
    save_adapter(model, folder, recipe)
    return sync_folder(folder)


def _weights(coordinator: Coordinator, round_number: int) -> Vector:
    data = get_blob(coordinator.exchange, coordinator.state.weights[round_number])
    return vector_from_bytes(data, coordinator.state.layout.size)


def _compare(
    coordinator: Coordinator,
    members: Mapping[str, str],
    tokenizer_bytes: bytes,
    origin: Origin,
    published: Vector,
) -> JSON:
    recipe = coordinator.recipe
    benches = {
        name: Workbench(recipe, Material(Path(path), recipe), tokenizer_bytes, origin)
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
