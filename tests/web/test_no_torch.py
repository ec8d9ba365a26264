"""The pages need no torch, as the hub needs none."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_pages_imports_no_torch() -> None:
    said = (
        "import sys, llmos.web.routes; "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
