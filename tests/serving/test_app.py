"""The server over its ASGI interface: answers, streams, errors in OpenAI's form."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from llmos.models.engines.engine import Decoding, Request
from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.serving.app import create_app
from llmos.serving.limits import Rates
from llmos.serving.server import Settings
from llmos.tasks import TASKS
from llmos.tasks.running import run
from llmos.tasks.task import Options

Engines = Callable[..., TransformersEngine]


@pytest.fixture(scope="module")
def client(lasting: Callable[..., Any]) -> Iterator[TestClient]:
    engines = {
        "story": lasting("gpt2"),
        "chat": lasting("llama", "instruction"),
        "translate": lasting("t5"),
        "bert": lasting("bert"),
    }
    app = create_app(engines, Settings(most_bytes=1 << 20))
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def ask(client: TestClient, path: str = "completions", **body: Any) -> Any:
    body = {"model": "story", "prompt": "the", "max_tokens": 12, "temperature": 0} | body
    return client.post(f"/v1/{path}", json={k: v for k, v in body.items() if v is not None})


def events(response: Any) -> list[Any]:
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


MESSAGES = [{"role": "system", "content": "be"}, {"role": "user", "content": "the tree"}]


def test_models_are_listed(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["story", "chat", "translate", "bert"]
    assert client.get("/v1/models/story").json()["max_model_len"] == 128
    kinds = [model["kind"] for model in listed["data"]]
    assert kinds == ["decoder", "decoder", "encoder-decoder", "encoder"]
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("model", ["story", "translate"])
def test_a_completion_is_the_engine_s(client: TestClient, engine_of: Engines, model: str) -> None:
    engine = engine_of({"story": "gpt2", "translate": "t5"}[model])
    expected = engine.write([Request(prompt="the", decoding=Decoding(max_new_tokens=12))])[0]
    found = ask(client, model=model).json()
    (choice,) = found["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected.text, expected.finish)
    assert found["usage"]["completion_tokens"] == expected.new_tokens
    streamed = events(ask(client, model=model, stream=True, stream_options={"include_usage": True}))
    assert "".join(e["choices"][0]["text"] for e in streamed[:-1]) == expected.text
    assert streamed[-1]["usage"] == found["usage"]


def test_a_chat_is_the_engine_s(client: TestClient, engine_of: Engines) -> None:
    decoding = Decoding(max_new_tokens=12)
    request = Request(messages=tuple(MESSAGES), decoding=decoding)
    (expected,) = engine_of("llama", "instruction").write([request])
    body = {"model": "chat", "messages": MESSAGES, "prompt": None}
    found = ask(client, "chat/completions", **body).json()
    assert found["choices"][0]["message"]["content"] == expected.text
    streamed = events(ask(client, "chat/completions", **body, stream=True))
    assert streamed[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in streamed)
    assert text == expected.text
    assert streamed[-1]["choices"][0]["finish_reason"] == expected.finish


def test_several_prompts_and_several_texts_of_each(client: TestClient) -> None:
    body = {"prompt": ["the", "水"], "n": 2, "temperature": 1.5, "seed": 4, "logprobs": 2}
    found = ask(client, **body).json()
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]
    written = [choice["text"] for choice in found["choices"]]
    for prompt, count in ((body["prompt"], 4), ("the", 2)):  # the seed repeats them
        again = ask(client, **{**body, "prompt": prompt}).json()["choices"]
        assert [choice["text"] for choice in again] == written[:count]
    streamed = events(ask(client, **body, stream=True))
    texts = ["", "", "", ""]
    for event in streamed:
        texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert texts == written
    logprobs = found["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) > 0


def test_an_answer_keeps_to_a_schema(client: TestClient) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    schema["additionalProperties"] = False
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = ask(
        client,
        "chat/completions",
        model="chat",
        messages=MESSAGES,
        prompt=None,
        response_format=form,
        max_tokens=40,
    ).json()
    assert json.loads(found["choices"][0]["message"]["content"])["n"] in (1, 2)


@pytest.mark.parametrize("model", ["bert", "story", "translate"])
def test_embeddings(client: TestClient, engine_of: Engines, model: str) -> None:
    texts = ["the tree", "水"]
    family = {"bert": "bert", "story": "gpt2", "translate": "t5"}[model]
    expected = engine_of(family).embed(texts)
    body = {"model": model, "input": texts, "prompt": None}
    found = ask(client, "embeddings", **body).json()
    assert np.allclose([d["embedding"] for d in found["data"]], expected)
    coded = ask(client, "embeddings", **body, encoding_format="base64").json()["data"][1]
    assert np.allclose(np.frombuffer(base64.b64decode(coded["embedding"]), "<f4"), expected[1])


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown model": ({"model": "gpt-9"}, 404, "gpt-9"),
    "no model": ({"model": None}, 400, "model"),
    "too many texts": ({"n": 1000}, 400, "n:"),
    "too many prompts": ({"prompt": ["a"] * 65, "n": 2}, 400, "65 prompts"),
    "over the context": ({"prompt": "tree " * 300}, 400, "context 128"),
    "temperature": ({"temperature": -1}, 400, "temperature"),
    "a type": ({"max_tokens": "many"}, 400, "max_tokens"),
    "no tokens": ({"prompt": []}, 400, "empty"),
    "a token that is none": ({"prompt": [1, 10**6]}, 400, "token 1000000"),
    "an encoder": ({"model": "bert"}, 400, "encoder"),
    "echo of several": ({"echo": True, "n": 2}, 400, "echo"),
    "nothing to write": ({"max_tokens": 0}, 400, "max_tokens"),
    "logit_bias": ({"logit_bias": {"5": 1}}, 400, "logit_bias"),
    "too many stops": ({"stop": ["a"] * 5}, 400, "stop"),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
        400,
        "schema",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_bad_requests(client: TestClient, case: str, stream: bool) -> None:
    body, status, words = BAD[case]
    response = ask(client, **body, stream=stream)
    error = response.json()["error"]
    assert (response.status_code, set(error)) == (status, {"message", "type", "param", "code"})
    assert words in error["message"]


def test_a_chat_with_a_model_that_was_made_for_none(client: TestClient) -> None:
    response = ask(client, "chat/completions", messages=MESSAGES, prompt=None)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"[1]",
        b"\xff\xfe{",
        b'{"model": "story", "prompt": "\xff\xfe"}',
        rb'{"model": "story", "prompt": "\ud800 x", "max_tokens": 2}',
        b'{"model": "story", "prompt": "x", "temperature": NaN}',
        b'{"model": "story", "prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_request(client: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_a_prompt_of_ten_megabytes(client: TestClient) -> None:
    response = ask(client, prompt="x" * (10 << 20))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")

    def parts() -> Iterator[bytes]:  # no length is told before
        for _ in range(40):
            yield b"x" * 65536

    assert client.post("/v1/completions", content=parts()).status_code == 413


def test_unknown_paths_and_methods(client: TestClient) -> None:
    for response in (client.get("/v1/nothing"), client.get("/v1/completions")):
        assert response.status_code in (404, 405)
        assert response.json()["error"]["message"]


def test_keys_and_rates(lasting: Callable[..., Any]) -> None:
    settings = Settings(keys=frozenset({"secret-ü", "other"}), per_minute=2)
    app = create_app({"story": lasting("gpt2")}, settings)
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic other"}):
            response = client.get("/v1/models", headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (
                401,
                "invalid_api_key",
            )
        allowed = {"Authorization": "Bearer other"}
        answers = [client.get("/v1/models", headers=allowed) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30


def test_a_bucket_refills_evenly() -> None:
    now = [0.0]
    rates = Rates(60, lambda: now[0])
    assert [rates.wait("a") for _ in range(61)] == [0.0] * 60 + [1.0]
    assert rates.wait("b") == 0
    now[0] = 1.5
    assert [rates.wait("a"), rates.wait("a")] == [0.0, 0.5]


def test_an_echo_tells_how_likely_the_prompt_was(client: TestClient, engine_of: Engines) -> None:
    prompt, behind = "the tree and", " 水 house"
    found = ask(client, prompt=prompt + behind, echo=True, logprobs=2, max_tokens=3).json()
    (choice,) = found["choices"]
    assert choice["text"].startswith(prompt + behind)
    values = choice["logprobs"]
    assert len({len(column) for column in values.values()}) == 1
    (expected,) = engine_of("gpt2").likelihoods([(prompt, behind)])
    behind_it = [
        value
        for start, value in zip(values["text_offset"], values["token_logprobs"], strict=True)
        if len(prompt) <= start < len(prompt + behind)
    ]
    assert (sum(behind_it), len(behind_it)) == (
        pytest.approx(expected.logprob, abs=1e-4),
        expected.tokens,
    )
    assert found["usage"]["completion_tokens"] == 3
    whole = ask(client, prompt=prompt, echo=True, logprobs=0, max_tokens=0).json()["choices"][0]
    assert (whole["text"], whole["finish_reason"]) == (prompt, "length")
    tokens = ask(client, prompt=[5, 6, 7], echo=True, logprobs=1, max_tokens=0).json()
    assert tokens["choices"][0]["logprobs"]["token_logprobs"][0] is None


def test_an_echo_of_characters_in_several_tokens(client: TestClient, engine_of: Engines) -> None:
    """As text or as tokens: whole characters, and a token begins where its character does."""
    engine, prompt = engine_of("gpt2"), "the 🌳 tree é 水"
    tokenizer = engine._loaded.words.tokenizer
    ids = engine.prompt_tokens(Request(prompt=prompt))
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    found = {
        name: ask(client, prompt=given, echo=True, logprobs=0, max_tokens=0).json()["choices"][0]
        for name, given in (("text", prompt), ("tokens", ids))
    }
    assert found["text"]["text"] == prompt and found["tokens"]["text"] == whole
    places = {name: one["logprobs"]["text_offset"] for name, one in found.items()}
    behind = len(whole) - len(prompt)  # the token that begins a document
    assert places["tokens"][len(ids) - len(places["text"]) :] == [
        place + behind for place in places["text"]
    ]
    assert places["text"].count(4) == 4  # the four bytes of the tree


def test_an_echo_needs_a_decoder(client: TestClient) -> None:
    answer = ask(client, model="translate", echo=True, max_tokens=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported")


def test_a_task_over_http_is_the_task(client: TestClient, engine_of: Engines) -> None:
    inputs = [{"text": "the tree", "to": "fr"}, {"text": "and the house", "to": "fr", "from": "en"}]
    expected = run(
        TASKS["translation"], engine_of("t5"), inputs, Options(decoding={"max_new_tokens": 9})
    )
    body = {"model": "translate", "inputs": inputs, "decoding": {"max_new_tokens": 9}}
    found = client.post("/v1/tasks/translation", json=body).json()
    assert [one["text"] for one in found["data"]] == [one.text for one in expected]
    alone = client.post("/v1/tasks/translation", json=body | {"inputs": inputs[0]}).json()
    assert alone["data"] == found["data"][:1]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_path_and_says_its_fields(client: TestClient, name: str) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert paths[f"/v1/tasks/{name}"]["post"]["summary"] == TASKS[name].about
    wrong = {"model": "story", "inputs": {"colour": "red"}}
    answer = client.post(f"/v1/tasks/{name}", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("inputs")
    empty = client.post(
        f"/v1/tasks/{name}", json={"model": "none", "inputs": {TASKS[name].main.name: "a"}}
    )
    assert empty.status_code in (400, 404)


def test_a_task_that_a_model_cannot_do(client: TestClient) -> None:
    body = {"model": "bert", "inputs": {"text": "the tree", "to": "fr"}}
    answer = client.post("/v1/tasks/translation", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported")


def test_counters_grow(client: TestClient) -> None:
    ask(client)
    page = client.get("/metrics").text
    for line in (
        'llmos_requests_total{path="/v1/completions",status="200"}',
        'llmos_new_tokens_total{model="story"}',
        'llmos_first_piece_seconds_count{model="story"}',
        'llmos_running{model="story"} 0.0',
    ):
        assert line in page


def test_a_watermark_for_all(engine_of: Engines, lasting: Callable[..., Any]) -> None:
    from llmos.models.watermark import detect

    engine = engine_of("gpt2")
    app = create_app({"story": lasting("gpt2")}, Settings(watermark=True))
    with TestClient(app) as client:
        text = ask(client, max_tokens=120, temperature=1.5, seed=1).json()["choices"][0]["text"]
    assert detect(engine._loaded.words.encode(text), engine._size).p < 1e-3


UNREADABLE: dict[str, tuple[str, bytes, str, str | None]] = {
    "no JSON": ("completions", b"{", "not JSON", None),
    "no UTF-8": ("completions", b'{"model": "caf\xe9"}', "UTF-8", None),
    "no object": ("completions", b"[1]", "no JSON object", None),
    "nesting": ("completions", b"[" * 200_000, "", None),
    "a field": ("completions", b'{"model": "story", "prompt": {}}', "prompt: ", "prompt"),
    "a missing field": ("completions", b"{}", "model: Field required", "model"),
    "a part": (
        "chat/completions", b'{"model": "x", "messages": [{"role": "a"}]}', "messages.0.role: ",
        "messages.0.role",
    ),
    "no inputs": ("tasks/translation", b'{"model": "x", "inputs": []}', "inputs: ", "inputs"),
    "a missing input": (
        "tasks/translation", b'{"model": "x", "inputs": {"text": "a"}}', "inputs.to: ", "inputs.to",
    ),
    "a missing input of several": (
        "tasks/translation", b'{"model": "x", "inputs": [{"text": "a"}]}', "inputs.0.to: ",
        "inputs.0.to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_body_that_does_not_fit_is_told_by_its_fields(client: TestClient, case: str) -> None:
    path, body, words, param = UNREADABLE[case]
    headers = {"content-type": "application/json"}
    answer = client.post(f"/v1/{path}", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert words in error["message"]


def test_json_under_another_name_is_told_so(client: TestClient) -> None:
    answer = client.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 400 and "application/json" in answer.json()["error"]["message"]
