"""Read model folders of transformers: no code of theirs runs, no pickle is read, no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmos.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OTHERS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
"""How files of weights end that are no safetensors."""
RESTORE = "restore its files, or run llmos verify on its run"


def model_folder(folder: Path) -> Path:
    """The folder itself, or the model of the run in it. Raises `ModelError` where there is none."""
    if (folder / "model" / "config.json").exists():
        return folder / "model"
    if not (folder / "config.json").exists():
        raise ModelError(
            f"{folder} holds no model (no config.json): give a model folder or a finished run"
        )
    return folder


def read(kind: Any, source: Path | str, **options: Any) -> Any:
    """What `kind.from_pretrained` makes of a folder, or of a name in the local cache of a hub.

    Raises `ModelError` where it cannot be read.
    """
    try:
        with quietly():
            return kind.from_pretrained(
                source, local_files_only=True, trust_remote_code=False, **options
            )
    except Exception as error:  # transformers raises many kinds for a damaged folder
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"{source} cannot be loaded ({reason[0][:200] if reason else type(error).__name__}): "
            f"{RESTORE}"
        ) from error


def read_model(
    kind: Any, source: Path | str, **options: Any
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """As `read`, from safetensors; also the weights that it lacks and that are random now.

    Raises `ModelError` for weights in another form too: a pickle can run code when it is read.
    """
    others = _other_weights(Path(source))
    if others:
        raise ModelError(
            f"{source} has no *.safetensors, only {', '.join(others)}: weights in other forms are "
            "not read (a pickle can run code), so ask for the model as safetensors"
        )
    model, info = read(kind, source, use_safetensors=True, output_loading_info=True, **options)
    return model, tuple(sorted(info["missing_keys"]))


def _other_weights(folder: Path) -> list[str]:
    """The files of weights in a folder that has none as safetensors."""
    if any(folder.glob("*.safetensors")):
        return []
    return sorted(file.name for form in OTHERS for file in folder.glob(f"*{form}"))


def lacking(source: Path | str, names: tuple[str, ...]) -> ModelError:
    """The error for a model without weights that it ought to have."""
    return ModelError(
        f"{source} lacks {len(names)} weights of the model ({names[0]}, ...): {RESTORE}"
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Within, transformers shows no progress bars and no reports: what matters is an error."""
    from transformers.utils import logging

    was_shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if was_shown:
            logging.enable_progress_bar()
