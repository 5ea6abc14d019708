"""A connection to the kernel's routing tables (rtnetlink(7))."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import wraps
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from wgbind.errors import ConflictError, NetworkError, PrivilegeError, WgbindError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

Kernel: TypeAlias = Any
"""A pyroute2 `IPRoute` or a message of its; that library has no types."""

FAMILIES = {4: AF_INET, 6: AF_INET6}
UNSPECIFIED = {AF_INET: "0.0.0.0", AF_INET6: "::"}  # noqa: S104  not a bind

OUR_PROTOCOL = 87
"""Marks the routes and rules that are ours (`ip route show proto 87`).

From the numbers that rtnetlink.h leaves to programs; 87 is "W", and nobody's in iproute2's list.
"""


@contextmanager
def netlink(task: str) -> Iterator[Kernel]:
    """Open an `IPRoute`; what the kernel refuses in the block is raised as by `doing`."""
    from pyroute2 import IPRoute

    with doing(task), IPRoute() as kernel:
        yield kernel


@contextmanager
def doing(task: str) -> Iterator[None]:
    """Turn what the kernel refuses in the block into our errors, which begin with `task`.

    Raises `PrivilegeError` for what needs CAP_NET_ADMIN, `ConflictError` for what exists already,
    `NetworkError` for the rest.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise _failure(task, error.code) from None
    except OSError as error:
        raise _failure(task, error.errno or 0) from None


@contextmanager
def gone_counts_as_deleted(command: str) -> Iterator[None]:
    """Bear that the kernel itself took away what is to be deleted, with something else."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        gone = {errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT}  # addresses, routes, rules
        if command != "del" or error.code not in gone:
            raise


def outside_event_loop(function: Callable[P, R]) -> Callable[P, R]:
    """Let `function` use netlink where an asyncio event loop runs, as in a notebook.

    pyroute2 drives a loop of its own, which cannot nest; there, a thread runs the function while
    the caller waits.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(function, *args, **kwargs).result()

    return wrapper


def _failure(task: str, code: int) -> WgbindError:
    if code == errno.EPERM:
        return PrivilegeError(f"{task}: needs CAP_NET_ADMIN; run it as root")
    if code == errno.EEXIST:
        return ConflictError(f"{task}: somebody else has set it already")
    if code == errno.ENODEV:
        return NetworkError(f"{task}: the interface does not exist")
    return NetworkError(f"{task}: {os.strerror(code)}")
