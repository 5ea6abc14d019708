"""What `import wgbind` offers, and what it costs."""

import subprocess
import sys

import pytest

import wgbind
from wgbind import errors

HEAVY = {"alembic", "fastapi", "httpx", "pydantic", "pyroute2", "rich", "segno", "sqlalchemy"}
HEAVY |= {"tomlkit", "uvicorn"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that are loaded when `code` has run in a new interpreter."""
    script = f"""
import sys
try:
    exec({code!r})
except SystemExit as end:
    assert not end.code, end.code
print(*{{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.split())


def test_exported_members() -> None:
    assert wgbind.__all__ == sorted(wgbind.__all__)
    assert dir(wgbind) == wgbind.__all__
    for name in wgbind.__all__:
        value = getattr(wgbind, name)
        assert name == "__version__" or value.__name__ == name
        assert name == "__version__" or value.__module__.startswith("wgbind")


def test_every_error_is_exported() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.WgbindError)
    }
    assert defined <= set(wgbind.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = wgbind.nonsense


@pytest.mark.parametrize(
    "code",
    [
        "import wgbind",
        "from wgbind import PrivateKey, Device, WgbindError, __version__",
        "sys.argv[1:] = ['--version']; from wgbind.cli import main; main()",
        "import wgbind.device, wgbind.detach",
    ],
)
def test_light_work_imports_nothing_heavy(code: str) -> None:
    assert modules_after(code) & HEAVY == set()


@pytest.mark.parametrize("command", ["server start --help", "key gen"])
def test_command_imports_only_what_it_needs(command: str) -> None:
    run = f"sys.argv[1:] = {command.split()}; from wgbind.cli import main; main()"
    assert modules_after(run) & HEAVY <= {"pydantic"}  # Typer's own, for some versions
