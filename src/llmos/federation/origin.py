"""What a run's model is built from, as the ledger pins it: config, first weights, frozen ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmos.errors import ProtocolError
from llmos.federation.protocol import Exchange, get_blob, put_blob
from llmos.models.arrays import get_weights, layout_of, vector_from_bytes, vector_to_bytes
from llmos.models.frozen import get_frozen
from llmos.provenance.run_state import RunState
from llmos.records import JSON
from llmos.training.workbench import Origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def pin_model(model: PreTrainedModel, origin: Origin, exchange: Exchange, seed: int) -> JSON:
    """Put the first weights into the exchange; the body of the entry `model_initialised`.

    What is not trained goes there once, as one blob, so that members need no folder of a base.
    """
    weights, frozen = get_weights(model), get_frozen(model)
    body: JSON = {
        "layout": layout_of(model).to_json(),
        "weights_sha256": put_blob(exchange, vector_to_bytes(weights)),
        "parameters": len(weights),
        "seed": seed,
    }
    if origin.config is not None:
        # Not in the entry itself: canonical JSON writes 1.0 as 1, which is no float to some models.
        text = json.dumps(dict(origin.config), indent=2, sort_keys=True) + "\n"
        body["config_sha256"] = put_blob(exchange, text.encode())
    if frozen is not None:
        body["frozen_sha256"] = put_blob(exchange, vector_to_bytes(frozen))
        body["frozen_values"] = len(frozen)
    return body


def origin_of(state: RunState, exchange: Exchange) -> Origin:
    """What `pin_model` pinned. Raises `ProtocolError` where a blob is missing or differs.

    Weights of the layout that are no low-rank additions are a new head's, where there are both.
    """
    config = None
    if state.config_sha256:
        try:
            config = json.loads(get_blob(exchange, state.config_sha256))
        except ValueError as error:
            raise ProtocolError(f"the base's configuration is not JSON: {error}") from error
    frozen = None
    if state.frozen_sha256:
        data = get_blob(exchange, state.frozen_sha256)
        frozen = vector_from_bytes(data, state.frozen_values)
    whole = tuple(name for name, _ in state.layout.shapes if ".lora_" not in name)
    return Origin(config, whole, frozen)
