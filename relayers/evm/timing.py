"""The timing that a network's profile gives a configuration."""

from __future__ import annotations

from bridge.chains.config import TimingConfig, timing_from
from relayers.evm.profiles import EvmProfile


def timing_of(profile: EvmProfile) -> TimingConfig:
    """Return a network's own numbers: small amounts of its coin wait for `depth` blocks, all else for
    `finalized_depth` and for what the network calls final."""
    return timing_from(
        profile.timing(),
        base=profile.depth,
        small={profile.native_symbol: profile.finalized_above},
    )
