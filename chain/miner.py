"""The solo miner: a thread that scans nonces for the newest work, with either backend."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from chain.block import Block
from chain.header import compact_to_target
from chain.template import with_nonce

log = structlog.get_logger("zion.miner")

BATCH_SECONDS = 0.25
"""Aim of one scan: long enough to be efficient, short enough to change to new work soon."""

FIRST_BATCH = 1 << 16


@dataclass(frozen=True)
class Work:
    """A block to find a nonce for."""

    block: Block
    header: bytes
    target: int

    @staticmethod
    def of(block: Block) -> Work:
        """Return the work of an unmined block."""
        return Work(block, block.header.raw, compact_to_target(block.header.target))

    def solved(self, nonce: int) -> Block:
        """Return the block under a nonce."""
        return with_nonce(self.block, nonce)
