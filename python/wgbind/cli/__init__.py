"""The `wgbind` command: it calls the library, renders, and sets the exit code."""

import sys


def main() -> None:
    """Run the `wgbind` command; end with its exit code."""
    from wgbind.cli.app import run

    sys.exit(run())
