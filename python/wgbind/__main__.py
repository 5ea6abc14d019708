"""`python -m wgbind` is `wgbind`."""

from wgbind.cli import main

main()
