"""This machine: its clock, its chance, its name, and the points where a test has it die."""

import os
import platform
import signal
from collections.abc import Callable

from tocsin.ports import Clock, Ids
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings


def build_clock() -> Clock:
    """Make the machine's clock."""
    return MachineClock()


def build_ids() -> Ids:
    """Make the source of chance."""
    return MachineIds()


def machine_name() -> str:
    """Name this machine, as its nodes are named."""
    return platform.node()[:64]


def is_this_machines(node: str) -> bool:
    """Say whether a node, by its name, runs or ran on this machine, or on one of the same name."""
    return node.rpartition("-")[0] == machine_name()


def build_failpoint(settings: Settings) -> Callable[[str], None]:
    """Make what is called at each named point of the code: nothing, unless a test wants the process dead there."""
    if settings.failpoint is None:
        return lambda name: None
    wanted, left = settings.failpoint

    def die(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return die
