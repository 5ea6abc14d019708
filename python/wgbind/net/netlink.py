"""A connection to the kernel's routing tables (rtnetlink(7))."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from wgbind.errors import NetworkError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

Kernel: TypeAlias = Any
"""A pyroute2 `IPRoute` or a message of its; that library has no types."""


@contextmanager
def netlink(task: str) -> Iterator[Kernel]:
    """Open a pyroute2 `IPRoute`; the errors of its use become ours, named by `task`.

    Raises `PrivilegeError` for what needs CAP_NET_ADMIN, `NetworkError` for the rest.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as connection:
            yield connection
    except NetlinkError as error:
        raise failure(task, error.code) from None
    except OSError as error:
        raise failure(task, error.errno or 0) from None


def failure(task: str, code: int) -> NetworkError | PrivilegeError:
    """Return the error for an errno that the kernel answered to `task` with."""
    if code == errno.EPERM:
        return PrivilegeError(f"{task}: needs CAP_NET_ADMIN; run it as root")
    return NetworkError(f"{task}: {os.strerror(code)}")


def outside_event_loop(function: Callable[P, R]) -> Callable[P, R]:
    """Let `function` use netlink where an asyncio event loop runs, as in a notebook.

    pyroute2 drives a loop of its own, which cannot nest; there, a thread runs the function while
    the caller waits.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(function, *args, **kwargs).result()

    return wrapper
