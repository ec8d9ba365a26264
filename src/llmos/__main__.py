"""The entry of the command line: `llmos`, `python -m llmos`, `torchrun -m llmos train ...`.

It loads nothing until it can answer an interrupt: Ctrl-C in the first second is as quiet as later.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 and the signal's number."""


def main() -> None:
    """Load the commands and run the one that is asked for. See `llmos.cli.main`."""
    try:
        from llmos.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
