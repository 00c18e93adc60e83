"""SOCKS5 (RFC 1928), as much as is needed to reach peers through Tor: no authentication, CONNECT, by name."""

from __future__ import annotations

import asyncio
import socket

from chain.network.errors import NetworkError
from chain.network.peer_address import ADDRESS_BYTES, Net, PeerAddress

_VERSION, _CONNECT = 5, 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


def connect_request(address: PeerAddress) -> bytes:
    """Return the request to connect; the proxy resolves names, so none are asked of a name server here."""
    if address.net is Net.ONION:
        host = address.host.encode()
        target = bytes([_NAME, len(host)]) + host
    else:
        target = bytes([_IPV4 if address.net is Net.IPV4 else _IPV6]) + address.raw
    return bytes([_VERSION, _CONNECT, 0]) + target + address.port.to_bytes(2, "big")


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(sock, size - len(data))
        if not piece:
            raise NetworkError("the proxy closed the connection")
        data += piece
    return data


async def connect_through(proxy: tuple[str, int], address: PeerAddress) -> socket.socket:
    """Return a socket that leads to a peer. Raises `NetworkError` or `OSError`."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in proxy[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, proxy)
        await loop.sock_sendall(sock, bytes([_VERSION, 1, 0]))
        if await _exactly(loop, sock, 2) != bytes([_VERSION, 0]):
            raise NetworkError("the proxy wants a password, or is not SOCKS5")
        await loop.sock_sendall(sock, connect_request(address))
        version, reply, _, kind = await _exactly(loop, sock, 4)
        if version != _VERSION or reply != 0:
            raise NetworkError(f"the proxy cannot reach the peer (reply {reply})")
        if kind == _NAME:
            size = (await _exactly(loop, sock, 1))[0]
        else:
            size = ADDRESS_BYTES[Net.IPV4 if kind == _IPV4 else Net.IPV6]
        await _exactly(loop, sock, size + 2)
    except BaseException:
        sock.close()
        raise
    return sock
