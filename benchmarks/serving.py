"""Tokens a second over HTTP: llmos serve, transformers serve, and our engine without HTTP.

    python benchmarks/serving.py [--streams 1,8,32] [--rounds 3] [--requests 2] [--sides ...]
    python benchmarks/serving.py --size 124m --streams 8 --sides llmos,offline,padded

A GPT-2 of 14 million weights drawn at random writes 64 new tokens after prompts of 64, greedily, as
streams, in one run: sides take turns in every round. Each of S clients sends its next request when
its last one is answered. For each side and S: tokens a second (the median of the rounds), the 95th
percentile of the time to the first token, seconds of processor time for 1,000 tokens, and the most
memory that its process ever held. Ratios are to transformers' continuous batching or, without it,
to `padded`: transformers' `generate` on all S prompts as one batch, without HTTP, in float32 as
transformers loads the model (`padded-bf16`: in bf16).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmos.device import share_cores

share_cores()  # before torch is loaded

PROMPT, NEW = 64, 64
COMPARED = ("tokens_per_second", "first_token_p95_ms", "cpu_seconds_per_1000_tokens")
SIZES = {
    "14m": {"num_layers": 6, "num_heads": 6, "hidden_size": 384, "context_length": 512},
    "124m": {"num_layers": 12, "num_heads": 12, "hidden_size": 768, "context_length": 1024},
}
VOCABULARY = {"14m": 8192, "124m": 50257}
RUN = "import typer; from llmos.cli.serve import serve; typer.run(serve)"
BATCHING = ["--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "512"]
BATCHING += ["--cb-max-batch-tokens", "2048"]


def prepare(folder: Path, size: str = "14m") -> None:
    """Write the model; its tokenizer of 8192 pieces is trained on made-up words."""
    import torch

    from llmos.models.families import build_model
    from llmos.models.publish import write_model_folder
    from llmos.models.vocabulary import Vocabulary, train_tokenizer
    from llmos.recipe import Recipe

    values = {f"model.{name}": value for name, value in SIZES[size].items()}
    values |= {"model.family": "gpt2", "tokenizer.vocabulary_size": 8192, "tokenizer.threshold": 0}
    recipe = Recipe(name="serving").with_values(values)
    words = Vocabulary.of(train_tokenizer(Counter({w: 9 for w in made_up(12_000)}), recipe))
    model = build_model(recipe.model, words, seed=1)
    model.resize_token_embeddings(VOCABULARY[size])
    # Their logits are 0, which is never the largest: no text ends early, or begins with tokens of
    # which nothing is told, as special ones and bytes that are no character.
    decode = words.tokenizer.decode
    silent = [words.end, *(one for one in range(8192) if not decode([one]).strip("\ufffd"))]
    with torch.no_grad():
        model.get_input_embeddings().weight[silent] = 0
        model.get_input_embeddings().weight[8192:] = 0
    write_model_folder(folder, model, words, SIZES[size]["context_length"])


def made_up(count: int) -> list[str]:
    draw = random.Random(0)
    return [
        " " + "".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(3))
        for _ in range(count)
    ]


@dataclass
class Measured:
    """Of one side at one number of streams."""

    rates: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # seconds for 1,000 tokens
    memory: float = 0.0  # MiB

    def row(self) -> dict[str, float]:
        return {
            "tokens_per_second": round(statistics.median(self.rates), 1),
            "first_token_p95_ms": round(1000 * percentile(self.first, 0.95), 1),
            "cpu_seconds_per_1000_tokens": round(statistics.median(self.busy), 3),
            "peak_mib": round(self.memory),
        }


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@contextmanager
def serving(command: list[str], port: int, threads: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers, ended at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def one_request(port: int, model: str, prompt: str) -> tuple[float, int]:
    """The seconds until the first token, and the number of tokens."""
    body = {"model": model, "prompt": prompt, "max_tokens": NEW, "temperature": 0, "stream": True}
    content = json.dumps(body | {"stream_options": {"include_usage": True}}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begun = time.perf_counter()
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode())
    writer.write(content)
    first, text = 0.0, b""
    while part := await reader.read(1 << 16):
        text += part
        if not first and b"data: " in text:
            first = time.perf_counter() - begun
    writer.close()
    told = re.findall(rb'"completion_tokens":\s*(\d+)', text)
    events = text.count(b"data: {")
    if not events or b'"error"' in text:
        raise SystemExit(f"no answer: {text[:500]!r}")
    return first, int(told[-1]) if told else events


async def all_streams(
    port: int, model: str, streams: int, requests: int, prompts: list[str]
) -> tuple[float, list[float], int]:
    """Seconds, times to the first token, tokens."""
    given = iter(prompts)

    async def client() -> list[tuple[float, int]]:
        return [await one_request(port, model, next(given)) for _ in range(requests)]

    begun = time.perf_counter()
    answers = await asyncio.gather(*(client() for _ in range(streams)))
    seconds = time.perf_counter() - begun
    flat = [answer for answers_of_one in answers for answer in answers_of_one]
    return seconds, [first for first, _ in flat], sum(tokens for _, tokens in flat)


OURS = """
from llmos.models.engines.transformers_engine import *
engine, decoding = TransformersEngine(folder, slots=streams), Decoding(max_new_tokens=64)
def write(prompts):
    asked = [Request(prompt=prompt, decoding=decoding) for prompt in prompts]
    return sum(piece.new_tokens for piece in engine.write(asked))
"""
PADDED = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPE).eval()
torch.set_num_threads(threads)
def write(prompts):
    given = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    found = model.generate(**given, max_new_tokens=64, do_sample=False)
    return (found.shape[1] - given["input_ids"].shape[1]) * len(prompts)
"""
ROUND = """
import json, sys, time
folder, streams, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
prompts = json.loads(sys.stdin.read())
WRITE
write(prompts[:1])
begun, busy = time.perf_counter(), time.process_time()
tokens = sum(write(prompts[at : at + BATCH]) for at in range(0, len(prompts), BATCH))
print(tokens, time.perf_counter() - begun, time.process_time() - busy)
"""
WITHOUT_HTTP = {
    "offline": ROUND.replace("WRITE", OURS).replace("BATCH", "len(prompts)"),
    "padded": ROUND.replace("WRITE", PADDED.replace("DTYPE", "'auto'")).replace("BATCH", "streams"),
    "padded-bf16": ROUND.replace("WRITE", PADDED.replace("DTYPE", "torch.bfloat16")).replace(
        "BATCH", "streams"
    ),
}


def without_http(
    code: str, folder: Path, options: argparse.Namespace, found: dict[int, Measured]
) -> None:
    """One round in a process of its own: our engine, or transformers."""
    for streams, measured in found.items():
        prompts = json.dumps(make_prompts(streams * options.requests))
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        command = [sys.executable, "-c", code, str(folder), str(streams), str(options.threads)]
        done = subprocess.run(
            command, input=prompts.encode(), stdout=-1, env=environment, check=True
        )
        tokens, seconds, busy = (float(word) for word in done.stdout.split())
        measured.rates.append(tokens / seconds)
        measured.busy.append(1000 * busy / tokens)


def make_prompts(count: int) -> list[str]:
    """Texts of about `PROMPT` tokens: a made-up word of the vocabulary is mostly one token."""
    draw, words = random.Random(count), made_up(12_000)[:4000]
    return ["".join(draw.choice(words) for _ in range(PROMPT // 2)) for _ in range(count)]


def status(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Processor seconds so far, and the most memory held (MiB)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    busy = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return busy, int(peak[1]) / 1024 if peak else 0.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2, help="of each client in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", choices=list(SIZES), default="14m")
    parser.add_argument("--sides", default="llmos,llmos-fp32,transformers,offline")
    options = parser.parse_args()
    counts = [int(count) for count in options.streams.split(",")]
    sides = options.sides.split(",")
    found = {side: {count: Measured() for count in counts} for side in sides}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name) / "model"
        prepare(folder, options.size)
        ours = [sys.executable, "-c", RUN, f"m={folder}", "--port"]
        theirs = str(Path(sys.executable).with_name("transformers"))
        commands = {
            "llmos": lambda port: [*ours, port],
            "llmos-fp32": lambda port: [*ours, port, "--precision", "fp32"],
            "transformers": lambda port: [theirs, "serve", str(folder), "--port", port, *BATCHING],
            "transformers-bf16": lambda port: [
                *commands["transformers"](port),
                "--dtype",
                "bfloat16",
            ],
        }
        running = {}
        for side in [side for side in sides if side in commands]:
            port = free_port()
            process = stack.enter_context(serving(commands[side](str(port)), port, options.threads))
            running[side] = process, port, "m" if side.startswith("llmos") else str(folder)
            asyncio.run(all_streams(port, running[side][2], 1, 1, make_prompts(1)))  # warm
        for _ in range(options.rounds):
            for side in sides:
                if side in WITHOUT_HTTP:
                    without_http(WITHOUT_HTTP[side], folder, options, found[side])
                    continue
                process, port, model = running[side]
                for count, measured in found[side].items():
                    prompts = make_prompts(count * options.requests)
                    before, _ = status(process)
                    seconds, first, tokens = asyncio.run(
                        all_streams(port, model, count, options.requests, prompts)
                    )
                    after, measured.memory = status(process)
                    measured.rates.append(tokens / seconds)
                    measured.first += first
                    measured.busy.append(1000 * (after - before) / tokens)
    for count in counts:
        against = next((side for side in ("transformers", "padded") if side in found), None)
        base = found[against][count].row() if against else {}
        for side in sides:
            row = found[side][count].row()
            ratio = {f"x_{key}": round(row[key] / base[key], 2) for key in COMPARED if base}
            print(json.dumps({"streams": count, "side": side, **row, **ratio}))


if __name__ == "__main__":
    main()
