"""An engine over a folder of CTranslate2, as `llmos export --to ct2` writes it: fast on a CPU.

Decoders and encoder-decoders write, decoders and encoder-decoders tell likelihoods, encoders give
vectors. It needs `pip install ctranslate2`, and no torch.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.errors import ModelError, UsageError
from llmos.models.chat import prompt_tokens
from llmos.models.engines.engine import (
    Decoding,
    Kind,
    Likelihood,
    Piece,
    Request,
    TokenLogprob,
    UnsupportedError,
)
from llmos.models.engines.room import new_tokens
from llmos.models.engines.texts import Growing, cut
from llmos.models.framing import document_tokens, source_tokens
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import ROLES, Vocabulary

FACTS = "llmos.json"
"""Beside CTranslate2's own files: the kind of model, its context, the ids of its special tokens."""
BATCH_TOKENS = 4096
PATIENCE = 2.0
"""Beams are searched until twice as many texts have ended (Kasai et al. 2022, arXiv 2204.05424):
transformers searches on too, and of real translations 78 in 80 are then the same, with 1.0 73."""
_LACKS = ("json_schema", "watermark", "frequency_penalty", "presence_penalty")


class CTranslate2Engine:
    """Answers with the model in a folder of CTranslate2. See `engine.Engine`.

    `compute_type` is one of CTranslate2's: "default" computes as the weights are saved, "int8" is
    the fastest. Raises `ModelError` where the folder is not whole.
    """

    def __init__(
        self, folder: Path | str, *, compute_type: str = "default", threads: int = 0
    ) -> None:
        self.folder = Path(folder)
        facts, self._words = _read(self.folder)
        self.name: str = str(folder)
        self.kind: Kind = facts["kind"]
        self.context_length: int = facts["context_length"]
        self._ends = frozenset(facts["ends"])
        try:
            import ctranslate2
        except ImportError as error:
            raise ModelError(
                f"{folder} is a model of CTranslate2: install it with pip install ctranslate2"
            ) from error
        kinds: dict[Kind, Any] = {
            "decoder": ctranslate2.Generator,
            "encoder": ctranslate2.Encoder,
            "encoder-decoder": ctranslate2.Translator,
        }
        try:
            self._model: Any = kinds[self.kind](
                str(self.folder), compute_type=compute_type, intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{folder} cannot be loaded ({error}): export it again") from error

    # Writing

    def stream(self, request: Request) -> Iterator[Piece]:
        decoding = request.decoding
        if decoding.num_beams > 1 or decoding.logprobs is not None:
            yield from self.write([request])
            return
        prompt = self._encode(request)
        settings = self._settings(decoding, self._room(prompt, decoding))
        for name in (
            "beam_size",
            "patience",
            "include_prompt_in_result",
        ):  # `generate_tokens` sets them
            settings.pop(name, None)
        text = Growing(self._words.tokenizer, decoding.stop)
        has_ended = False
        steps = self._model.generate_tokens(self._tokens(prompt), **settings)
        for step in steps:
            has_ended = step.token_id in self._ends
            if has_ended:
                break
            if new := text.add(step.token_id):
                yield Piece(new)
            if text.has_stopped:
                break
        steps.close()
        finish = "stop" if has_ended or text.has_stopped else "length"
        count = len(text.ids) + has_ended
        yield Piece(text.rest(), (), finish, len(prompt), count)  # type: ignore[arg-type]

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        encoded = [self._encode(request) for request in requests]
        groups: dict[Any, list[int]] = defaultdict(list)
        for at, (request, ids) in enumerate(zip(requests, encoded, strict=True)):
            decoding = request.decoding
            is_alone = at if decoding.stop else -1  # for `is_enough` below
            groups[(repr(decoding), self._room(ids, decoding), is_alone)].append(at)
        found: dict[int, Piece] = {}
        for (_, limit, _), members in groups.items():
            decoding = requests[members[0]].decoding
            rows = self._write([encoded[at] for at in members], decoding, limit)
            for at, ids in zip(members, rows, strict=True):
                found[at] = self._piece(encoded[at], ids, decoding)
        return [found[at] for at in range(len(requests))]

    def _write(
        self, rows: Sequence[Sequence[int]], decoding: Decoding, limit: int
    ) -> list[list[int]]:
        """The new ids of each row, with the one that ended it."""
        settings = self._settings(decoding, limit)
        settings |= {"max_batch_size": BATCH_TOKENS, "batch_type": "tokens"}
        if decoding.stop and decoding.num_beams == 1:  # one row: see `write`
            text = Growing(self._words.tokenizer, decoding.stop)

            def is_enough(step: Any) -> bool:
                text.add(step.token_id)
                return text.has_stopped

            settings["callback"] = is_enough
        tokens = [self._tokens(row) for row in rows]
        generates = self.kind == "decoder"
        write = self._model.generate_batch if generates else self._model.translate_batch
        results = write(tokens, return_end_token=True, **settings)
        if generates:
            return [list(result.sequences_ids[0]) for result in results]
        ids = self._words.tokenizer.get_vocab()
        pad = self._words.pad  # for the rows of a model that no token has, such as T5's last 28
        return [[ids.get(token, pad) for token in result.hypotheses[0]] for result in results]

    def _settings(self, decoding: Decoding, limit: int) -> dict[str, Any]:
        """CTranslate2's names. `max_input_length` 0: its default would cut a long text."""
        names = {"decoder": "max_length", "encoder-decoder": "max_decoding_length"}
        found: dict[str, Any] = {
            names[self.kind]: limit,
            "beam_size": decoding.num_beams,
            "patience": PATIENCE if decoding.num_beams > 1 else 1.0,
            "repetition_penalty": decoding.repetition_penalty,
            "sampling_topk": 1,
            "end_token": sorted(self._ends),
        }
        if decoding.temperature:
            found["sampling_temperature"] = decoding.temperature
            found["sampling_topk"], found["sampling_topp"] = decoding.top_k, decoding.top_p
        if self.kind == "decoder":
            found["include_prompt_in_result"] = False
        else:
            found["max_input_length"] = 0
        return found

    def _piece(self, prompt: Sequence[int], ids: list[int], decoding: Decoding) -> Piece:
        has_ended = bool(ids) and ids[-1] in self._ends
        new = ids[:-1] if has_ended else ids
        text, is_cut = cut(self._decode(new), decoding.stop)
        if is_cut:  # the tokens that it takes to spell what is left
            sizes = range(len(new) + 1)
            new = new[: next(n for n in sizes if len(self._decode(new[:n])) >= len(text))]
        logprobs: tuple[TokenLogprob, ...] = ()
        if decoding.logprobs is not None:
            logprobs = self._logprobs(prompt, new, decoding.logprobs)
        finish = "stop" if has_ended or is_cut else "length"
        return Piece(text, logprobs, finish, len(prompt), len(ids))  # type: ignore[arg-type]

    def _encode(self, request: Request) -> list[int]:
        """The ids that the model reads. Raises `UnsupportedError` for what it cannot do."""
        decoding, words = request.decoding, self._words
        if self.kind == "encoder":
            raise UnsupportedError(f"{self.name} is an encoder, which writes no text")
        for name in _LACKS:
            if getattr(decoding, name):
                raise UnsupportedError(f"CTranslate2 has no {name}: use transformers' engine")
        if decoding.temperature and decoding.seed is not None:
            # Its threads take the seed once, when they start.
            raise UnsupportedError("CTranslate2's sampling cannot be repeated: leave the seed out")
        if decoding.repetition_penalty != 1 and self.kind == "decoder":
            # It would be for the new tokens alone, and for other ones in a batch.
            raise UnsupportedError("CTranslate2's repetition_penalty leaves the prompt out")
        if decoding.logprobs is not None and self.kind != "decoder":
            raise UnsupportedError("CTranslate2 tells no log-probabilities of an encoder-decoder")
        if decoding.temperature and decoding.num_beams > 1:
            raise UsageError("beams and sampling do not go together: leave one of them out")
        if request.messages:
            if not all(role in words.roles for role in ROLES):
                raise UnsupportedError(f"{self.name} has no chat template: give a prompt instead")
            return prompt_tokens(words, request.messages)
        if not isinstance(request.prompt, str):
            return list(request.prompt)
        lay = document_tokens if self.kind == "decoder" else source_tokens
        return lay(words, request.prompt)

    def _room(self, ids: Sequence[int], decoding: Decoding) -> int:
        """How many new tokens there may be behind a prompt (see `new_tokens`)."""
        return new_tokens(self.kind, len(ids), self.context_length, decoding)

    # Reading

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """As `reading.likelihoods`: the two are cut into tokens together, then parted."""
        if self.kind == "encoder":
            raise UnsupportedError(f"{self.name} is an encoder, which gives no likelihood")
        if self.kind == "encoder-decoder":
            return [self._of_target(*pair) for pair in pairs]
        found = []
        for context, continuation in pairs:
            blank = len(context) - len(context.rstrip())
            before = document_tokens(self._words, context[: len(context) - blank])
            whole = document_tokens(self._words, context + continuation)
            row = whole[-(self.context_length + 1) :]
            size = min(len(whole) - len(before), self.context_length)
            values = self._values(row[:-1])[len(row) - 1 - size :]  # (T, V)
            ids = np.array(row[len(row) - size :], np.int64)
            own = values[np.arange(size), ids]
            is_greedy = bool((values.argmax(1) == ids).all())
            found.append(Likelihood(float(own.sum(dtype=np.float64)), size, is_greedy))
        return found

    def _of_target(self, source: str, target: str) -> Likelihood:
        """Of an encoder-decoder: the target's tokens, given the source; without its end."""
        ids = self._words.encode(target)
        if not ids:
            return Likelihood(0.0, 0, True)
        read, wanted = self._tokens(self._encode(Request(prompt=source))), self._tokens(ids)
        (score,) = self._model.score_batch([read], [wanted], max_input_length=0)
        (greedy,) = self._model.translate_batch(
            [read], beam_size=1, max_decoding_length=len(ids), max_input_length=0
        )
        logprob = float(sum(score.log_probs[: len(ids)]))
        return Likelihood(logprob, len(ids), greedy.hypotheses[0] == wanted)

    def _values(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Log-probabilities of what follows each of the ids: (T, V)."""
        found = self._model.forward_batch([list(ids)], return_log_probs=True)
        values: npt.NDArray[np.float32] = _array(found)[0].astype(np.float32)
        return values

    def _logprobs(
        self, prompt: Sequence[int], new: Sequence[int], top: int
    ) -> tuple[TokenLogprob, ...]:
        """Of the model itself: before temperature and penalties."""
        if not new:
            return ()
        values = self._values([*prompt, *new[:-1]])[len(prompt) - 1 :]
        likely = np.argsort(-values, axis=1, kind="stable")[:, :top]
        return tuple(
            TokenLogprob(
                self._decode([token]),
                float(row[token]),
                tuple((self._decode([int(one)]), float(row[one])) for one in best),
            )
            for token, row, best in zip(new, values, likely, strict=True)
        )

    def classify(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        raise self._headless()

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    def spans(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        raise self._headless()

    def _headless(self) -> UnsupportedError:
        return UnsupportedError(f"{self.name} has no head: CTranslate2 runs none")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """As `reading.embed`: the mean of the last layer, of length 1."""
        if self.kind != "encoder":
            raise UnsupportedError(f"{self.name}: CTranslate2 gives vectors of encoders alone")
        vectors = []
        for text in texts:
            # A text at a time: other lengths in a batch change the last bits.
            ids = self._framed(text)
            hidden = _array(self._model.forward_batch([ids]).last_hidden_state)[0]
            mean = hidden.astype(np.float32).mean(axis=0)
            vectors.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.array(vectors, np.float32) if vectors else np.zeros((0, 0), np.float32)

    def _framed(self, text: str) -> list[int]:
        """With the special tokens of its tokenizer; too long a text loses its end."""
        encoding = self._words.tokenizer.encode(text)
        ids, special = list(encoding.ids), list(encoding.special_tokens_mask)
        end = len(ids) - (special[::-1].index(0) if 0 in special else 0)
        excess = max(0, len(ids) - self.context_length)
        return (ids[: end - excess] + ids[end:]) or [self._words.end]

    def count_tokens(self, text: str) -> int:
        return len(self._words.encode(text))

    # Tokens

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        """CTranslate2 takes tokens by their names."""
        return [str(self._words.tokenizer.id_to_token(token)) for token in ids]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._words.tokenizer.decode(list(ids), skip_special_tokens=True))


def _array(view: Any) -> npt.NDArray[Any]:
    """CTranslate2's values as numpy's; on a CPU without a copy."""
    import ctranslate2

    if view.device != "cpu":
        view = view.to_device(ctranslate2.Device.cpu)
    found: npt.NDArray[Any] = np.array(view)
    return found


def _read(folder: Path) -> tuple[Mapping[str, Any], Vocabulary]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tokenizer = tokenizer_from_bytes((folder / "tokenizer.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is no folder that llmos export --to ct2 wrote ({error}): export it again"
        ) from error
    return facts, Vocabulary.of(tokenizer, facts)
