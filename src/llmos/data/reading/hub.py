"""Data sets by their name on a Hugging Face hub, through huggingface_hub and its cache."""

from __future__ import annotations

import re
from pathlib import Path

from llmos.errors import DataError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(source: str) -> bool:
    """Whether a source that is no path may be the name of a data set, such as org/name."""
    return _NAME.fullmatch(source) is not None


def fetch(name: str) -> Path:
    """The folder of a data set in the cache, loaded if it is not there; its name is the commit.

    Raises `DataError` where it can be neither loaded nor found in the cache.
    """
    advice = "give a folder or file, or load the data set where there is a network"
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise DataError(
            f"{name} is no file or folder, and huggingface_hub is not installed: {advice}"
        ) from error
    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except (OSError, HfHubHTTPError, HFValidationError, RuntimeError, ValueError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise DataError(
            f"{name} is no file or folder, and as a data set on the hub it cannot be loaded "
            f"({said}): {advice}"
        ) from error
