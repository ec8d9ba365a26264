"""Blobs in a bucket of Amazon's S3, or a service that speaks as it does, under
PREFIX/blobs/ab/cd/<sha256>.

Keys and region come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store as Bucket

from llmos.errors import UsageError
from llmos.hub.errors import HubError
from llmos.hub.storage.staging import Arrived
from llmos.hub.storage.store import StoredBlob

PIECE = 8 << 20  # bytes fetched at once
PART = 16 << 20  # bytes sent at once; larger blobs go in parts of this size
SIDE_BY_SIDE = 4  # parts on their way at once
YOUNG = timedelta(hours=1)  # a blob put again within this time is not sent again
PATIENCE: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class S3Store:
    """A bucket of blobs."""

    direct = True

    def __init__(self, address: str, endpoint: str = "") -> None:
        """`address` is s3://BUCKET/PREFIX, `endpoint` the service's URL (empty: Amazon's)."""
        bucket, _, prefix = address.removeprefix("s3://").strip("/").partition("/")
        if not bucket:
            raise UsageError(f"storage {address!r}: write s3://BUCKET/PREFIX")
        own: dict[str, Any] = {}
        if endpoint:
            own = {"endpoint": endpoint, "virtual_hosted_style_request": False}
        self._bucket = Bucket(
            bucket,
            prefix=prefix or None,
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": "120s"},
            retry_config=PATIENCE,
            **own,
        )

    def put(self, staged: Arrived) -> None:
        """See `BlobStore.put`. A blob there already is sent again, as that alone makes it young
        for the collection, unless it is."""
        key = _key(staged.sha256)
        with _answers(staged.sha256):
            try:
                about = obstore.head(self._bucket, key)
            except (NotFoundError, FileNotFoundError):
                about = None
            if about is not None and datetime.now(UTC) - about["last_modified"] < YOUNG:
                return
            obstore.put(
                self._bucket, key, staged.path, chunk_size=PART, max_concurrency=SIDE_BY_SIDE
            )

    def put_quickly(self, staged: Arrived, *, anew: bool = False) -> bool:
        """See `BlobStore.put_quickly`: the service answers when it has it."""
        self.put(staged)
        return True

    def sync(self) -> None:
        """See `BlobStore.sync`: nothing is left to do."""

    def size(self, sha256: str) -> int | None:
        """See `BlobStore.size`."""
        try:
            with _answers(sha256):
                return int(obstore.head(self._bucket, _key(sha256))["size"])
        except HubError as error:
            if error.status == 404:
                return None
            raise

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `BlobStore.read`."""
        if stop is None:
            stop = self.size(sha256)
            if stop is None:
                raise _lost(sha256)
        for at in range(start, stop, PIECE):
            with _answers(sha256):
                end = min(at + PIECE, stop)
                piece = bytes(obstore.get_range(self._bucket, _key(sha256), start=at, end=end))
            yield piece
            if len(piece) < end - at:  # `stop` lies beyond the end
                return

    def path(self, sha256: str) -> Path | None:
        """See `BlobStore.path`: there is none."""
        return None

    def link(self, sha256: str, *, seconds: int, filename: str) -> str | None:
        """See `BlobStore.link`. The service cannot be told the `filename` this way."""
        longest = timedelta(days=7)  # Amazon's limit
        expires = min(timedelta(seconds=seconds), longest)
        return str(obstore.sign(self._bucket, "GET", _key(sha256), expires))

    def list(self) -> Iterator[StoredBlob]:
        """See `BlobStore.list`."""
        with _answers("blobs"):
            for page in obstore.list(self._bucket, prefix="blobs", chunk_size=1000):
                for about in page:
                    modified = int(about["last_modified"].timestamp() * 1000)
                    yield StoredBlob(about["path"].rpartition("/")[2], about["size"], modified)

    def delete(self, sha256: str) -> None:
        """See `BlobStore.delete`."""
        try:
            with _answers(sha256):
                obstore.delete(self._bucket, _key(sha256))
        except HubError as error:
            if error.status != 404:
                raise

    def delete_old(self, sha256: str, before: int) -> bool:
        """See `BlobStore.delete_old`. The service cannot look and delete at once; whoever puts the
        blob within those milliseconds must send it again."""
        try:
            with _answers(sha256):
                about = obstore.head(self._bucket, _key(sha256))
                if about["last_modified"].timestamp() * 1000 >= before:
                    return False
                obstore.delete(self._bucket, _key(sha256))
        except HubError as error:
            if error.status != 404:
                raise
        return True

    def set_aside(self, sha256: str) -> None:
        """See `BlobStore.set_aside`: moved to PREFIX/damaged."""
        with _answers(sha256):
            obstore.rename(self._bucket, _key(sha256), f"damaged/{sha256}")


def _key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _lost(sha256: str) -> HubError:
    return HubError(404, f"The hub has lost the blob {sha256}")


@contextmanager
def _answers(sha256: str) -> Iterator[None]:
    """What the service refuses becomes an answer, not a traceback."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise _lost(sha256) from None
    except BaseError as error:
        raise HubError(
            503,
            "The hub's object store does not answer; try again",
            headers={"Retry-After": "5"},
        ) from error
