"""How a node takes part in the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chain.rules.params import Network

DEFAULT_PORTS = {Network.MAIN: 18_080, Network.TEST: 28_080, Network.DEV: 38_080}
"""Where nodes listen for each other unless told otherwise."""


@dataclass(frozen=True)
class NetworkConfig:
    """What the operator chose.

    `listen`: host:port to accept peers at. `connect`: host:port, or KEY@host:port with the SHA-256 (hex) of
    the peer's certificate; always kept connected. `seeds`: a file with one host:port a line. `dns_seeds`:
    names whose addresses run nodes. `proxy`: host:port of a SOCKS5 proxy (Tor) for every connection out.
    `source`: local address of connections out, else the system's choice. `discover`: connect to addresses
    that were learnt, not only to `connect`.
    """

    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    seeds: Path | None = None
    dns_seeds: tuple[str, ...] = ()
    proxy: str | None = None
    source: str | None = None
    discover: bool = True
    local: bool = False
    agent: str = "zion"
