"""LLMOS: build language models together across organisations and countries.

`train`, `resume`, `generate`, `verify` and `load_recipe` are what most programs need. They are
loaded when first used, so that `import llmos` stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmos.device import share_cores

if TYPE_CHECKING:
    from llmos.federation.local import resume, train
    from llmos.federation.verify import verify_run as verify
    from llmos.models.generate import generate
    from llmos.recipe import load_recipe

__version__ = "0.1.0"
__all__ = ["__version__", "generate", "load_recipe", "resume", "train", "verify"]

_HOMES = {
    "resume": ("llmos.federation.local", "resume"),
    "train": ("llmos.federation.local", "train"),
    "generate": ("llmos.models.generate", "generate"),
    "verify": ("llmos.federation.verify", "verify_run"),
    "load_recipe": ("llmos.recipe", "load_recipe"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmos' has no attribute {name!r}")
    share_cores()
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
