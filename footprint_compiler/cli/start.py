"""Where the console script begins: Ctrl-C ends it with one line also while modules are loaded."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the command line and run it; exits with the command's code."""
    try:
        from footprint_compiler.cli.main import main as run
    except KeyboardInterrupt:
        from footprint_compiler.errors import InterruptedByUser

        print(f"error {InterruptedByUser.id}: interrupted", file=sys.stderr)
        print(f"  remedy: {InterruptedByUser.default_remedy}", file=sys.stderr)
        sys.exit(InterruptedByUser.exit_code)
    run()
