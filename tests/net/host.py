"""A namespace that this process can call functions in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from typing_extensions import Self

from harness import Namespace

P = ParamSpec("P")
R = TypeVar("R")


class Host(Namespace):
    """A namespace with a thread of this process in it.

    A socket stays in the namespace of the thread that made it, and so does a started program.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self._executor = ThreadPoolExecutor(1, initializer=self.enter)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        super().__exit__(exc_type, exc_value, traceback)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the namespace, from a thread other than the main one."""
        return self._executor.submit(function, *args, **kwargs).result(timeout=60)

    def link(self, name: str, *addresses: str) -> None:
        """Add an Ethernet interface that is up and has nobody behind it."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-end")
        for end in (name, f"{name}-end"):
            self.ip("link", "set", end, "up")
        for address in addresses:
            self.ip("address", "add", address, "dev", name)

    def mac(self, interface: str) -> str:
        """Return the hardware address of an interface."""
        return str(self.ip_json("link", "show", interface)[0]["address"])
