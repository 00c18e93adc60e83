"""Issuance: base reward, consciousness levels, and the bound on supply. Integers only.

base(h) = 50 ZION · (4/5)^⌊h / 5,256,000⌋ (ten years of 60 s blocks), times the miner's level per mille.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.rules.params import COIN

BASE_REWARD = 50 * COIN
ERA_BLOCKS = 5_256_000


@dataclass(frozen=True, slots=True)
class Level:
    """A consciousness level: from `experience` on, rewards are multiplied by `per_mille` / 1000."""

    name: str
    experience: int
    per_mille: int


LEVELS = (
    Level("Physical", 0, 1000),
    Level("Etheric", 10, 1050),
    Level("Emotional", 50, 1100),
    Level("Astral", 200, 1200),
    Level("Mental", 1_000, 1350),
    Level("Causal", 5_000, 1500),
    Level("Intuitional", 20_000, 1650),
    Level("Buddhic", 50_000, 1750),
    Level("Atmic", 100_000, 1900),
    Level("Monadic", 200_000, 2000),
)


def experience(blocks_mined: int, anchors_carried: int) -> int:
    """On-chain experience: one for each block mined and one for each of them that carried an anchor."""
    return blocks_mined + anchors_carried


def level_of(points: int) -> Level:
    """Return the level at this experience."""
    return max((level for level in LEVELS if points >= level.experience), key=lambda level: level.experience)


def base_reward(height: int) -> int:
    """Return the reward of a block before the multiplier, rounded down; nothing for genesis."""
    if height == 0:
        return 0
    era = height // ERA_BLOCKS
    return int(BASE_REWARD * 4**era // 5**era)


def reward(height: int, points: int) -> int:
    """Return what the block at `height` issues to a miner with this experience before it, rounded down."""
    return base_reward(height) * level_of(points).per_mille // 1000


MAX_SUPPLY = 2 * 5 * BASE_REWARD * ERA_BLOCKS
"""Upper bound of all issuance: the geometric series of eras at the highest level, 2.628 · 10⁹ ZION."""
