"""Who goes first on a busy machine: packets."""

import os
from threading import get_native_id

NICE = 10
"""Of work that can wait: beside a thread that moves packets it gets a tenth of a core."""


def give_way() -> None:
    """Let the calling thread, and the threads that it starts from now on, go after packets.

    Linux keeps the nice value by thread (setpriority(2), "C library/kernel differences"); whoever
    is nicer already stays so. Never for a thread that starts a server's device.
    """
    thread = get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < NICE:
        os.setpriority(os.PRIO_PROCESS, thread, NICE)
