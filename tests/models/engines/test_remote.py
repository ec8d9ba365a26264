"""The engine behind a URL, against a stand-in that answers on this machine as services do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import numpy as np
import pytest

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import Decoding, Request, TokenLogprob, UnsupportedError
from llmos.models.engines.opening import open_engine
from llmos.models.engines.remote import AT_ONCE, RemoteEngine
from llmos.models.engines.service import KEY, OPENAI_KEY, Service

Answer = Any
"""JSON; (status, JSON or text, headers); or a list of events."""
MODELS = {"data": [{"id": "tiny", "max_model_len": 64}]}


class Stub(ThreadingHTTPServer):
    """Answers each path by a function of the request's JSON; keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any], Answer]] = {"/v1/models": lambda _: MODELS}
        self.asked: list[tuple[str, Any, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def engine(self, name: str = "") -> RemoteEngine:
        return RemoteEngine(self.url + name, service=Service(self.url, sleep=lambda _: None))


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: Any) -> None:
        self.server.asked.append((self.path, body, self.headers.get("authorization")))
        answer = self.server.answers.get(self.path, lambda _: (404, {"detail": "Not Found"}, {}))
        found = answer(body)
        status, content, headers = found if isinstance(found, tuple) else (200, found, {})
        if isinstance(content, list):
            lines = [e if isinstance(e, str) else f"data: {json.dumps(e)}" for e in content]
            data = "".join(f"{line}\n\n" for line in lines).encode()
        else:
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def text_of(body: Any) -> Answer:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    words = f"<{body['prompt']}>"
    return {"choices": [{"text": words, "finish_reason": "length"}], "usage": usage}


def test_texts_come_in_the_order_of_their_prompts(stub: Stub) -> None:
    stub.answers["/v1/completions"] = text_of
    engine = stub.engine()
    prompts = [f"水 {number}" for number in range(3 * AT_ONCE)]
    found = engine.write([Request(prompt=prompt) for prompt in prompts])
    assert [piece.text for piece in found] == [f"<{prompt}>" for prompt in prompts]
    assert {(p.finish, p.prompt_tokens, p.new_tokens) for p in found} == {("length", 3, 2)}
    assert (engine.context_length, engine.name) == (64, f"{stub.url}/v1#tiny")
    assert engine.write([]) == []


def test_what_is_sent_is_the_protocols(stub: Stub) -> None:
    chat = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}
    stub.answers["/v1/chat/completions"] = lambda _: chat
    schema = {"type": "object"}
    decoding = Decoding(
        max_new_tokens=7, temperature=0.5, top_p=0.9, seed=4, stop=("x",), json_schema=schema
    )
    messages = ({"role": "user", "content": "hello"},)
    (piece,) = stub.engine().write([Request(messages=messages, decoding=decoding)])
    assert (piece.text, piece.finish) == ("{}", "stop")
    assert stub.asked[-1][1] == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 4,
        "stop": ["x"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }


def test_a_stream_comes_in_pieces_and_ends_with_the_count(stub: Stub) -> None:
    stub.answers["/v1/chat/completions"] = lambda _: [
        ": a comment",
        {"choices": [{"delta": {"role": "assistant"}}]},
        {"choices": [{"delta": {"content": "面"}}]},
        {"choices": [{"delta": {"content": "包"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        "data: [DONE]",
    ]
    pieces = list(stub.engine().stream(Request(messages=({"role": "user", "content": "?"},))))
    assert [piece.text for piece in pieces] == ["面", "包", ""]
    assert (pieces[-1].finish, pieces[-1].prompt_tokens, pieces[-1].new_tokens) == ("stop", 5, 2)


@pytest.mark.parametrize("end", [[], [{"error": {"message": "out of memory"}}]])
def test_a_stream_that_breaks_off_is_no_text(stub: Stub, end: list[Any]) -> None:
    stub.answers["/v1/completions"] = lambda _: [{"choices": [{"text": "a"}]}, *end]
    with pytest.raises(ModelError, match="broke off"):
        list(stub.engine().stream(Request(prompt="x")))


def test_closing_a_stream_is_no_error(stub: Stub) -> None:
    stub.answers["/v1/completions"] = lambda _: [{"choices": [{"text": "a"}]}] * 99
    stream = stub.engine().stream(Request(prompt="x"))
    assert next(stream).text == "a"
    stream.close()  # type: ignore[attr-defined]


def test_log_probabilities_in_both_forms(stub: Stub) -> None:
    tops = {"a": -0.25, "b": -2.0}
    old = {"tokens": ["a"], "token_logprobs": [-0.25], "top_logprobs": [tops], "text_offset": [0]}
    listed = [{"token": token, "logprob": value} for token, value in tops.items()]
    new = {"content": [{"token": "a", "logprob": -0.25, "top_logprobs": listed}]}
    for logprobs in (old, new):
        stub.answers["/v1/completions"] = lambda _, logprobs=logprobs: {  # type: ignore[misc]
            "choices": [{"text": "a", "logprobs": logprobs}]
        }
        decoding = Decoding(logprobs=2)
        (piece,) = stub.engine().write([Request(prompt="x", decoding=decoding)])
        assert piece.logprobs == (TokenLogprob("a", -0.25, (("a", -0.25), ("b", -2.0))),)
        assert stub.asked[-1][1]["logprobs"] == 2


def test_likelihoods_are_of_the_continuation_alone(stub: Stub) -> None:
    def echo(body: Any) -> Answer:
        assert body["prompt"] == "the tree" and body["echo"]
        return {
            "choices": [
                {
                    "logprobs": {
                        "tokens": ["the", " tr", "ee", "!"],
                        "text_offset": [0, 3, 6, 8],
                        "token_logprobs": [None, -1.5, -0.5, -9.0],
                        "top_logprobs": [None, {" tr": -1.5}, {"ee": -0.5}, {"?": -1.0}],
                    }
                }
            ]
        }

    stub.answers["/v1/completions"] = echo
    for pair in (("the", " tree"), ("the ", "tree")):
        (found,) = stub.engine().likelihoods([pair])
        assert (found.logprob, found.tokens, found.is_greedy) == (-2.0, 2, True)
    stub.answers["/v1/completions"] = lambda _: {"choices": [{"text": "the tree!"}]}
    with pytest.raises(UnsupportedError, match="log-probabilities"):
        stub.engine().likelihoods([("the", " tree")])


def test_vectors_have_length_one_and_their_texts_order(stub: Stub) -> None:
    def embed(body: Any) -> Answer:
        rows = [{"index": at, "embedding": [3.0, 4.0 * at]} for at in range(len(body["input"]))]
        return {"data": rows[::-1]}

    stub.answers["/v1/embeddings"] = embed
    found = stub.engine().embed(["a", "b"])
    assert np.allclose(found, [[1, 0], [0.6, 0.8]]) and found.dtype == np.float32


def test_tokens_are_counted_by_the_service(stub: Stub) -> None:
    with pytest.raises(UnsupportedError):
        stub.engine().count_tokens("a b c")
    stub.answers["/tokenize"] = lambda body: {"tokens": body["prompt"].split()}
    assert stub.engine().count_tokens("a b c") == 3


def test_the_model_must_be_clear(stub: Stub) -> None:
    stub.answers["/v1/models"] = lambda _: {"data": [{"id": "a"}, {"id": "b"}]}
    with pytest.raises(UsageError, match=r"the models: a, b; name one, as in .*#NAME"):
        stub.engine()
    assert stub.engine("#b").model == "b"
    assert open_engine(f"{stub.url}/v1#b").name == f"{stub.url}/v1#b"
    del stub.answers["/v1/models"]
    assert (stub.engine("#c").model, stub.engine("#c").context_length) == ("c", 0)


def test_the_key_comes_from_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setenv(OPENAI_KEY, "for OpenAI alone")
    stub.engine()
    assert stub.asked[-1][2] is None
    monkeypatch.setenv(KEY, "s3cret")
    stub.engine()
    assert stub.asked[-1][2] == "Bearer s3cret"
    stub.answers["/v1/models"] = lambda _: (401, {"error": {"message": "bad key"}}, {})
    with pytest.raises(ModelError, match=f"refuses the key .bad key.: set {KEY}"):
        stub.engine()


def test_it_is_patient_with_a_busy_service(stub: Stub) -> None:
    waits: list[float] = []
    answers = iter([(429, {}, {"retry-after": "3"}), (503, "busy", {}), text_of({"prompt": "x"})])
    stub.answers["/v1/completions"] = lambda _: next(answers)
    service = Service(stub.url, sleep=waits.append)
    (piece,) = RemoteEngine(stub.url, service=service).write([Request(prompt="x")])
    assert piece.text == "<x>" and waits == [3.0, 2.0]
    stub.answers["/v1/completions"] = lambda _: (429, {}, {"retry-after": "9999"})
    with pytest.raises(ModelError, match="answered 429"):
        RemoteEngine(stub.url, service=service).write([Request(prompt="x")])
    assert waits == [3.0, 2.0]


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (404, {"detail": "Not Found"}, UnsupportedError),
        (404, {"error": {"message": "Did you mean to use v1/chat/completions?"}}, UnsupportedError),
        (400, {"error": {"message": "no chat template"}}, UnsupportedError),
        (400, {"error": {"message": "echo is not supported: leave it out"}}, UnsupportedError),
        (404, {"error": {"message": "The model `x` does not exist"}}, ModelError),
        (400, {"error": {"message": "too long"}}, UsageError),
        (500, "<html>oops</html>", ModelError),
        (200, "<html>hello</html>", ModelError),
        (200, [], ModelError),
        (200, {"choices": []}, ModelError),
    ],
)
def test_errors_say_what_the_service_says(
    stub: Stub, status: int, answer: Any, error: type[Exception]
) -> None:
    stub.answers["/v1/completions"] = lambda _: (status, answer, {})
    with pytest.raises(error) as caught:
        stub.engine().write([Request(prompt="x")])
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_newer_models_other_name_for_the_limit(stub: Stub) -> None:
    def answer(body: Any) -> Answer:
        if "max_tokens" in body:
            told = "'max_tokens' is not supported: use 'max_completion_tokens' instead"
            return (400, {"error": {"message": told}}, {})
        return text_of(body)

    stub.answers["/v1/completions"] = answer
    engine = stub.engine()
    for _ in range(2):
        engine.write([Request(prompt="x", decoding=Decoding(max_new_tokens=5))])
    assert [body.get("max_completion_tokens") for _, body, _ in stub.asked[1:]] == [None, 5, 5]


def test_a_wrong_url_is_told_at_once() -> None:
    with Stub() as server:
        server.server_close()  # now nothing listens
        with pytest.raises(ModelError, match="cannot be reached"):
            RemoteEngine(server.url)
    for url in ("http://", "ftp://host"):
        with pytest.raises(UsageError):
            RemoteEngine(url)


def test_what_cannot_be_asked(stub: Stub) -> None:
    engine = stub.engine()
    for decoding in (Decoding(num_beams=4), Decoding(watermark=True)):
        with pytest.raises(UnsupportedError):
            engine.write([Request(prompt="x", decoding=decoding)])
    with pytest.raises(UnsupportedError):
        engine.classify(["x"])
    with pytest.raises(UnsupportedError):
        engine.spans([("x", "y")])
    assert engine.labels == () and len(stub.asked) == 1


def test_llmos_own_server(tiny: Callable[[str], Path]) -> None:
    """The same answers as from the engine behind it."""
    uvicorn: Any = pytest.importorskip("uvicorn")
    from llmos.models.engines.transformers_engine import TransformersEngine
    from llmos.serving.app import create_app
    from llmos.serving.server import Settings

    engine = TransformersEngine(tiny("gpt2"), slots=2, precision="fp32")
    app = create_app({"gpt2": engine}, Settings(keys=frozenset({"k"})))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    remote = RemoteEngine(f"http://127.0.0.1:{port}", key="k")
    try:
        assert (remote.model, remote.context_length) == ("gpt2", engine.context_length)
        decoding = Decoding(max_new_tokens=12, repetition_penalty=1.2, logprobs=1)
        requests = [Request(prompt=text, decoding=decoding) for text in ("the tree", "水")]
        found, wanted = remote.write(requests), engine.write(requests)
        assert [(p.text, p.finish, p.new_tokens, p.prompt_tokens) for p in found] == [
            (p.text, p.finish, p.new_tokens, p.prompt_tokens) for p in wanted
        ]
        assert "".join(p.text for p in remote.stream(requests[0])) == wanted[0].text
        assert np.allclose(remote.embed(["a b"]), engine.embed(["a b"]), atol=1e-5)
        marked = Decoding(max_new_tokens=4, watermark=True, temperature=1.0, seed=2)
        many = [engine.write([Request(prompt="x", decoding=marked)])[0].text for _ in range(2)]
        assert remote.write([Request(prompt="x", decoding=marked)])[0].text == many[0] == many[1]
        (likely,), (same,) = (one.likelihoods([("a", " b")]) for one in (remote, engine))
        assert (likely.tokens, likely.is_greedy) == (same.tokens, same.is_greedy)
        assert likely.logprob == pytest.approx(same.logprob, abs=1e-4)
        with pytest.raises(UnsupportedError):
            remote.write([Request(messages=({"role": "user", "content": "x"},))])
    finally:
        server.should_exit = True
        thread.join()
        engine.close()


def test_a_model_is_another_where_the_service_says_so(stub: Stub) -> None:
    """`created` is the time of the answer with vLLM and llama.cpp, and tells nothing."""
    record = {"id": "tiny", "created": 1, "root": "/models/a"}
    said = []
    for more in ({}, {"created": 2}, {"root": "/models/b"}, {"fingerprint": "c"}):
        stub.answers["/v1/models"] = lambda _, more=more: {"data": [record | more]}
        said.append(stub.engine().identity)
    assert said[0] == said[1] and len(set(said)) == 3
