"""Work that can wait goes after packets, and takes nobody else with it."""

import os
from threading import Thread, get_native_id

from wgbind.precedence import NICE, give_way


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, get_native_id())


def test_only_the_thread_and_those_that_it_starts_give_way() -> None:
    found: list[int] = []

    def note() -> None:
        found.append(nice())

    def work() -> None:
        give_way()
        give_way()
        note()
        inner = Thread(target=note)
        inner.start()
        inner.join()

    before = nice()
    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [max(NICE, before)] * 2
    assert nice() == before
