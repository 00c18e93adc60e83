"""Addresses of peers: IPv4, IPv6, and version 3 onion services."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from dataclasses import dataclass
from enum import IntEnum

from chain.network.errors import PeerAddressError

_ONION_VERSION = b"\x03"


class Net(IntEnum):
    """Kinds of networks that an address can be in. The values are sent."""

    IPV4 = 1
    IPV6 = 2
    ONION = 3


ADDRESS_BYTES = {Net.IPV4: 4, Net.IPV6: 16, Net.ONION: 32}


@dataclass(frozen=True, slots=True, order=True)
class PeerAddress:
    """Where a peer listens: `raw` has 4, 16 or 32 bytes (an onion service's public key)."""

    net: Net
    raw: bytes
    port: int

    @property
    def host(self) -> str:
        """The host as text."""
        if self.net is Net.ONION:
            check = _onion_checksum(self.raw)
            return base64.b32encode(self.raw + check + _ONION_VERSION).decode().lower() + ".onion"
        return str(ipaddress.ip_address(self.raw))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.net is Net.IPV6 else f"{self.host}:{self.port}"

    @property
    def routable(self) -> bool:
        """Whether strangers can be there: not a loopback, private, multicast or reserved address."""
        if self.port == 0:
            return False
        return self.net is Net.ONION or ipaddress.ip_address(self.raw).is_global

    @property
    def group(self) -> bytes:
        """The netgroup: addresses that one party easily holds together. /16, /32; onions in 16 groups."""
        if self.net is Net.ONION:
            return bytes([self.net, self.raw[0] >> 4])
        if ipaddress.ip_address(self.raw).is_loopback:
            return bytes([self.net]) + self.raw  # only tests: each is a party of its own
        return bytes([self.net]) + self.raw[: 2 if self.net is Net.IPV4 else 4]

    @property
    def subnet(self) -> bytes:
        """The addresses that one customer of a provider commonly has: /24, /48; an onion service alone."""
        if self.net is Net.ONION or ipaddress.ip_address(self.raw).is_loopback:
            return self.host_key
        return bytes([self.net]) + self.raw[: 3 if self.net is Net.IPV4 else 6]

    @property
    def host_key(self) -> bytes:
        """The host without its port: what is discouraged."""
        return bytes([self.net]) + self.raw


def _onion_checksum(public_key: bytes) -> bytes:
    """Tor's rend-spec-v3, "Encoding onion addresses": SHA3-256(".onion checksum" ‖ key ‖ version)[:2]."""
    return hashlib.sha3_256(b".onion checksum" + public_key + _ONION_VERSION).digest()[:2]


def address_of(host: str, port: int) -> PeerAddress:
    """Return the address of an IP address or onion host. Raises `PeerAddressError`."""
    if not 0 <= port < 65_536:
        raise PeerAddressError(f"{port} is not a port", hint="0 … 65535")
    if host.lower().endswith(".onion"):
        try:
            data = base64.b32decode(host[:-6].upper())
        except ValueError:
            data = b""
        if len(data) != 35 or data[34:] != _ONION_VERSION or data[32:34] != _onion_checksum(data[:32]):
            raise PeerAddressError(f"{host!r} is not a version 3 onion service")
        return PeerAddress(Net.ONION, data[:32], port)
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise PeerAddressError(f"{host!r} is not an IP address or onion service") from None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return PeerAddress(Net.IPV4 if ip.version == 4 else Net.IPV6, ip.packed, port)


def split_host_port(text: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port` or `[IPv6]:port`. Raises `PeerAddressError`."""
    hint = "write host:port, or [IPv6]:port"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise PeerAddressError(f"{text!r} is not the address of a peer", hint=hint)
        port_text = rest[1:]
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    if not host or (port_text and not (port_text.isascii() and port_text.isdigit())):
        raise PeerAddressError(f"{text!r} is not the address of a peer", hint=hint)
    port = int(port_text) if port_text else default_port
    if port > 65_535:
        raise PeerAddressError(f"{port} is not a port", hint="0 … 65535")
    return host, port
