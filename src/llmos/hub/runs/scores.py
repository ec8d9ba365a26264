"""Signed results, taken in one by one: what a record must be, what is known of its signer, which
model of this hub it is about."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Row, or_, select, update

from llmos.errors import LLMOSError
from llmos.hub.accounts.rights import Caller, Right, right_on, visible
from llmos.hub.database.connection import now
from llmos.hub.database.tables import keys, repos, results
from llmos.hub.errors import HubError, bad_request
from llmos.provenance.results import Result, parse_result

LARGEST = 1 << 20  # bytes of a record
Text = Field(max_length=500)


class _Score(BaseModel):
    model_config = ConfigDict(strict=True)
    metric: str = Text
    settings: str = Text
    interval: str = Text
    higher_is_better: bool
    n: int = Field(ge=0, lt=2**53)
    value: float | None
    low: float | None
    high: float | None
    sums: list[float]
    moments: list[list[float]] | None


class _Benchmark(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str = Text
    task: str = Text
    dataset: str = Text
    data_sha256: str = Text
    how: str = Text
    n: int = Field(ge=0, lt=2**53)
    scores: list[_Score] = Field(max_length=200)


class _Model(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str = Text
    sha256: str = Field(max_length=64)
    links: dict[str, str] = Field(default_factory=dict, max_length=20)


class _Contamination(BaseModel):
    benchmarks: dict[str, dict[str, Any]] = Field(default_factory=dict)


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)
    model: _Model
    settings: dict[str, Any]
    benchmarks: list[_Benchmark] = Field(max_length=500)
    contamination: _Contamination = Field(default_factory=_Contamination)


def read_record(data: bytes) -> Result:
    """The result in a signed record; its body is the record as it was signed, signature and all.

    Raises `HubError` 400 for one that was changed after signing,
    that is not signed, or that is no result; 413 above a mebibyte."""
    if len(data) > LARGEST:
        raise HubError(413, f"A result has at most {LARGEST:,} bytes")
    try:
        result = parse_result(data)
    except LLMOSError as error:
        raise bad_request(str(error)) from None
    try:
        record = _Record.model_validate(dict(result.body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise bad_request(f"the record: {where}: {first['msg']}") from None
    figures = (
        figure
        for benchmark in record.benchmarks
        for score in benchmark.scores
        for figure in (score.value, score.low, score.high)
    )
    if not all(figure is None or math.isfinite(figure) for figure in figures):
        raise bad_request("the record: a figure that is infinite must be null")
    return replace(result, body=json.loads(data))


def add_result(
    connection: Connection, caller: Caller, result: Result, repo: Row[Any] | None = None
) -> tuple[Row[Any], bool]:
    """Keep a result, once; the row and whether it is new. `repo`: the model that it came with;
    without it, the one that its name or its model's hash means to the caller.

    State "verified": the key that signed it is registered here, and was not revoked before the
    result came; else "unverifiable": the signature holds, but whose it is nobody here says.
    """
    same = select(results).where(results.c.sha256 == result.sha256)
    if (there := connection.execute(same).first()) is not None:
        # A private model would hide what everybody could see before.
        if there.repo_id is None and repo is not None and not repo.private:
            own = results.c.id == there.id
            connection.execute(update(results).where(own).values(repo_id=repo.id))
        return there, False
    model = repo or _model_of(connection, caller, result)
    signer = connection.execute(
        select(keys.c.revoked_at).where(keys.c.public_key == result.signer)
    ).first()
    row = {
        "sha256": result.sha256,
        "repo_id": model.id if model else None,
        "account_id": caller.id,
        "record": dict(result.body),
        "signer": result.signer,
        "state": "verified" if signer and signer.revoked_at is None else "unverifiable",
        "created_at": now(),
    }
    connection.execute(results.insert(), row)
    return connection.execute(same).one(), True


def _model_of(connection: Connection, caller: Caller, result: Result) -> Row[Any] | None:
    """The model judged, if it is here and the caller may see it."""
    said = result.body["model"]
    conditions = [repos.c.name_key == str(said["name"]).lower()]
    if said["sha256"]:
        conditions.append(repos.c.content_sha256 == said["sha256"])
    rows = connection.execute(
        select(repos)
        .where(repos.c.kind == "model", visible(caller, repos), or_(*conditions))
        .order_by(repos.c.id)
        .limit(20)
    ).all()
    seen = [row for row in rows if right_on(connection, caller, row) >= Right.READ]
    # A hash says more than a name, which its signer chose.
    return next((row for row in seen if row.content_sha256 == said["sha256"] != ""), None) or next(
        (row for row in seen if row.name_key == str(said["name"]).lower()), None
    )
