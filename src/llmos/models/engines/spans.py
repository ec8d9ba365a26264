"""Where in a context the answer to a question stands, from a head for question answering.

As transformers' run_qa.py tells that there is no answer: by the score of place 0, the least over
the windows of a long context.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from llmos.models.engines.batches import padded
from llmos.models.engines.engine import UnsupportedError
from llmos.models.engines.loading import Loaded
from llmos.models.framing import frame_of_two
from llmos.models.windows import SpanScores, windows


@torch.no_grad()
def spans(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
    """For each (question, context): begin and end in characters, and the probability.

    (0, 0, p) where no answer is likelier than every span. The probability is that among all spans
    and no answer.
    """
    if loaded.head != "extractive_qa":
        raise UnsupportedError(f"{loaded.folder} has no head that finds answers in a context")
    words, frame = loaded.words, frame_of_two(loaded.words)
    encodings = [words.tokenizer.encode(c, add_special_tokens=False) for _, c in pairs]
    asked = [
        (number, window)
        for number, (question, _) in enumerate(pairs)
        for window in windows(
            words.encode(question), encodings[number].ids, frame, loaded.context_length
        )
    ]
    scores = [
        SpanScores(context, np.array(encoding.offsets, np.int64).reshape(-1, 2))
        for (_, context), encoding in zip(pairs, encodings, strict=True)
    ]
    nothing = [np.inf] * len(pairs)
    has_segments = getattr(loaded.model.config, "type_vocab_size", 0) > 1
    for batch in padded([window.ids for _, window in asked], words.pad, loaded.model.device):
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if has_segments:
            segments = torch.zeros_like(batch.ids)
            for place, row in enumerate(batch.rows):
                of_row = torch.tensor(asked[row][1].segments)
                segments[place, : len(of_row)] = of_row
            inputs["token_type_ids"] = segments
        output = loaded.model(**inputs)
        begins, ends = (x.double().cpu().numpy() for x in (output.start_logits, output.end_logits))
        for row, begin, end in zip(batch.rows, begins, ends, strict=True):
            number, window = asked[row]
            nothing[number] = min(nothing[number], begin[0] + end[0])
            scores[number].enter(window, begin, end)
    return [one.best(none) for one, none in zip(scores, nothing, strict=True)]
