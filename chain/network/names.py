"""From what operators write to addresses and sockets: names, pinned keys, seeds, listeners."""

from __future__ import annotations

import asyncio
import socket

import structlog

from chain.network.config import NetworkConfig
from chain.network.core.addresses import AddressBook
from chain.network.errors import ListenError, NetworkError, PeerAddressError
from chain.network.peer_address import PeerAddress, address_of, split_host_port

log = structlog.get_logger("zion.network")

_HEX = frozenset("0123456789abcdef")


class Names:
    """Looks up peers. `look_up`: whether name servers may be asked; beside a proxy they may not."""

    def __init__(self, default_port: int, *, look_up: bool) -> None:
        self._port, self._look_up = default_port, look_up
        self.pins: dict[PeerAddress, str] = {}
        """The key that a peer must have, by address."""

    async def resolve(self, text: str) -> list[PeerAddress]:
        """Return the addresses of `[KEY@]host[:port]`. Raises `PeerAddressError`."""
        pin, _, rest = text.rpartition("@")
        host, port = split_host_port(rest, self._port)
        found = [address_of(host, port)] if _is_address(host) else await self._addresses(host, port)
        if pin:
            if len(pin) != 64 or set(pin.lower()) - _HEX:
                raise PeerAddressError(f"{pin!r} is not a key", hint="the peer prints it when it starts")
            self.pins[found[0]] = pin.lower()
        return found

    async def _addresses(self, host: str, port: int) -> list[PeerAddress]:
        if not self._look_up:
            raise PeerAddressError(
                f"{host!r} is a name, and names are not looked up beside a proxy", hint="give an address"
            )
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise PeerAddressError(f"{host!r} has no address: {error}") from None
        return [address_of(str(info[4][0]), port) for info in infos]

    async def add_seeds(self, book: AddressBook, config: NetworkConfig, now: int) -> None:
        """Put the nodes of the seeds into the address book; a seed that cannot be used is left out."""
        names = list(config.dns_seeds)
        if config.seeds is not None:
            try:
                lines = config.seeds.read_text().splitlines()
            except OSError as error:
                raise NetworkError(f"{config.seeds} cannot be read: {error}") from None
            names += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        for name in names:
            try:
                addresses = await self.resolve(name)
            except NetworkError as error:
                log.warning("a seed cannot be used", seed=name, error=error.message)
                continue
            for address in addresses:
                if address.routable or config.local:
                    book.add(address, b"seed " + name.encode()[:32], now, now)


def _is_address(host: str) -> bool:
    try:
        address_of(host, 1)
    except PeerAddressError:
        return False
    return True


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket that does not block. Raises `ListenError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"cannot listen for peers on {host}:{port}: {error.strerror}", hint="choose another --listen"
        ) from None
    return listener
