"""The server on a socket: official clients, clients that leave, many connections, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from llmos.models.engines.engine import Decoding, Request
from llmos.models.engines.remote import RemoteEngine
from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.serving.app import create_app
from llmos.serving.opening import open_all
from llmos.serving.server import Settings

Engines = Callable[..., TransformersEngine]
MESSAGES: Any = [{"role": "user", "content": "the tree"}]


@pytest.fixture(scope="module")
def server(folder_of: Callable[..., Path]) -> Iterator[tuple[int, TransformersEngine]]:
    engine = TransformersEngine(folder_of("llama", "instruction"), slots=2, precision="fp32")
    settings = uvicorn.Config(
        create_app({"chat": engine}, Settings()), port=0, log_level="error", access_log=False
    )
    running = uvicorn.Server(settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until(lambda: running.started)
    yield running.servers[0].sockets[0].getsockname()[1], engine
    running.should_exit = True
    thread.join()


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be so")


def sent(port: int, body: dict[str, Any]) -> socket.socket:
    """A connection on which a completion was asked for."""
    content = json.dumps({"model": "chat", "prompt": "the"} | body).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return connection


FOREVER = {"max_tokens": 110, "temperature": 2.0, "logit_bias": None}


def test_the_official_client(server: tuple[int, TransformersEngine]) -> None:
    openai = pytest.importorskip("openai")
    port, engine = server
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["chat"]
    request = Request(messages=tuple(MESSAGES), decoding=Decoding(max_new_tokens=9))
    (expected,) = engine.write([request])
    options = {"model": "chat", "temperature": 0, "max_tokens": 9}
    chat = client.chat.completions.create(
        messages=MESSAGES, logprobs=True, top_logprobs=2, **options
    )
    assert chat.choices[0].message.content == expected.text
    assert len(chat.choices[0].logprobs.content[0].top_logprobs) == 2
    assert chat.usage.completion_tokens == expected.new_tokens
    chunks = client.chat.completions.create(messages=MESSAGES, stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected.text
    text = client.completions.create(prompt="the", **options)
    assert text.choices[0].finish_reason in ("stop", "length")
    vectors = client.embeddings.create(model="chat", input=["the", "tree"])  # as base64
    assert len(vectors.data[1].embedding) == 32
    with pytest.raises(openai.NotFoundError, match="no model 'x'"):
        client.completions.create(model="x", prompt="the")
    with pytest.raises(openai.BadRequestError, match="context 128"):
        client.completions.create(model="chat", prompt="tree " * 300)


def test_litellm(server: tuple[int, TransformersEngine]) -> None:
    litellm = pytest.importorskip("litellm")
    found = litellm.completion(
        model="openai/chat",
        messages=MESSAGES,
        api_base=f"http://127.0.0.1:{server[0]}/v1",
        api_key="none",
        max_tokens=5,
    )
    assert found.choices[0].finish_reason in ("stop", "length")


def test_langchain(server: tuple[int, TransformersEngine]) -> None:
    langchain = pytest.importorskip("langchain_openai")
    model = langchain.ChatOpenAI(
        model="chat", base_url=f"http://127.0.0.1:{server[0]}/v1", api_key="none", max_tokens=5
    )
    assert isinstance(model.invoke("the tree").content, str)
    assert "".join(chunk.content for chunk in model.stream("the tree")) is not None


def test_a_server_before_another_gives_the_same(server: tuple[int, TransformersEngine]) -> None:
    port, engine = server
    engines = open_all({"far": f"http://127.0.0.1:{port}/v1#chat"}, 2, "fp32")
    body = {"model": "far", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    with TestClient(create_app(engines, Settings())) as client:
        answer = client.post("/v1/chat/completions", json=body).json()
        listed = client.get("/v1/models").json()["data"]
    request = Request(messages=tuple(MESSAGES), decoding=Decoding(max_new_tokens=8))
    assert answer["choices"][0]["message"]["content"] == engine.write([request])[0].text
    assert (listed[0]["kind"], listed[0]["max_model_len"]) == ("decoder", engine.context_length)


def test_a_remote_engine_scores_through_echo(server: tuple[int, TransformersEngine]) -> None:
    port, engine = server
    pairs = [("the tree", " and the house"), ("the", " street 水"), ("in a ", "house")]
    found = RemoteEngine(f"http://127.0.0.1:{port}/v1#chat").likelihoods(pairs)
    for one, expected in zip(found, engine.likelihoods(pairs), strict=True):
        assert one.logprob == pytest.approx(expected.logprob, abs=1e-3)
        assert (one.tokens, one.is_greedy) == (expected.tokens, expected.is_greedy)


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_leave_free_their_slots(
    server: tuple[int, TransformersEngine], stream: bool
) -> None:
    """Of two slots: twelve clients go in the middle, and the next one is served."""
    port, engine = server
    for _ in range(12):
        connection = sent(port, FOREVER | {"stream": stream, "n": 16})
        if stream:
            assert connection.recv(200)
        connection.close()
    until(lambda: engine.running == engine.waiting == 0)
    with sent(port, {"max_tokens": 2}) as connection:
        assert b"200 OK" in connection.recv(1000)


def test_a_client_that_sends_rubbish_disturbs_no_other(
    server: tuple[int, TransformersEngine],
) -> None:
    port, engine = server
    decoding = Decoding(max_new_tokens=60)
    (expected,) = engine.write([Request(prompt="the", decoding=decoding)])
    with sent(port, {"max_tokens": 60, "temperature": 0, "stream": True}) as good:
        for rubbish in (
            b"\0\xff" * 50,
            b"POST /v1/completions HTTP/1.1\r\n\r\n",
            b"GET / HTTP/9\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as bad:
                bad.sendall(rubbish)
        text = b""
        while b"[DONE]" not in text:
            text += good.recv(65536)
    parts = [line for line in text.decode().split("data: ")[1:] if "[DONE]" not in line]
    pieces = [json.loads(part[: part.rindex("}") + 1])["choices"][0]["text"] for part in parts]
    assert "".join(pieces) == expected.text


def test_a_thousand_connections(server: tuple[int, TransformersEngine]) -> None:
    """All are held open at once; each is answered."""
    port, _ = server

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await gate.wait()
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def all_of_them() -> list[bytes]:
        tasks = [asyncio.create_task(one()) for _ in range(1000)]
        await asyncio.sleep(0.3)
        gate.set()
        return await asyncio.gather(*tasks)

    gate = asyncio.Event()
    assert all(b"200 OK" in answer for answer in asyncio.run(all_of_them()))


@pytest.mark.slow
def test_the_command_serves_and_ends_in_peace(folder_of: Callable[..., Path]) -> None:
    """On SIGTERM the text that is being written is finished first; then the command ends well."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    run = "import typer; from llmos.cli.serve import serve; typer.run(serve)"
    model = f"story={folder_of('gpt2')}"
    command = [sys.executable, "-c", run, model, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:

        def answers() -> bool:
            try:
                sent(port, {"model": "story"}).close()
            except OSError:
                return False
            return True

        until(answers)
        with sent(port, FOREVER | {"model": "story", "stream": True}) as connection:
            text = connection.recv(100)
            process.send_signal(signal.SIGTERM)
            while part := connection.recv(65536):
                text += part
        assert b"[DONE]" in text
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
