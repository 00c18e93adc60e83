"""What the `init_section` of families share: a template beside the plug-in, filled in."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from bridge.chains.config import TimingConfig
from bridge.chains.family import InitChoices
from bridge.chains.network import Network

LOCAL_SKEW = 15
"""Seconds: blocks made on request push the local chains' clocks ahead of ours."""
LOCAL_POLL = "0.5"
"""Seconds between two looks at a local chain."""


def section_text(
    package: str, choices: InitChoices, timing: TimingConfig, *, poll: str, values: dict[str, str]
) -> str:
    """Fill in `section.toml` of a family's package. `poll` is for real networks, in seconds; the template may
    use `$name`, `$poll`, the timing's `$interval`, `$base`, `$cap`, `$inclusion`, `$skew`, and `values`."""
    local = choices.network is Network.DEV
    known = {
        "name": choices.chain,
        "interval": str(timing.block_interval),
        "base": str(timing.finality_base),
        "cap": str(timing.finality_cap),
        "inclusion": str(timing.inclusion_p99),
        "skew": str(LOCAL_SKEW if local else timing.clock_skew),
        "poll": LOCAL_POLL if local else poll,
    }
    return Template((files(package) / "section.toml").read_text()).substitute(known | values)
