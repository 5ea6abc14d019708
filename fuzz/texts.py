"""Fuzz the parsers that are written in Python: `make fuzz TARGET=toml`."""

import sys

import atheris

with atheris.instrument_imports(include=["wgbind.settings", "wgbind.wg_quick", "tomllib"]):
    from harness import texts

TARGETS = {"toml": texts.toml, "wg_quick": texts.wg_quick}


def main() -> None:
    """Run the target that the first argument names; the others are libFuzzer's."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
