"""Which kind of network every chain of a configuration is on."""

from __future__ import annotations

from enum import StrEnum


class Network(StrEnum):
    """Which network of every chain: a local one, the public test networks, or real money."""

    DEV = "dev"
    TEST = "test"
    MAIN = "main"
