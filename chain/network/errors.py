"""Errors of the network."""

from __future__ import annotations

from chain.rules.errors import ZionError


class NetworkError(ZionError):
    """Base of the network's errors."""


class FrameError(NetworkError):
    """Bytes that are not a frame of this network, or one that is too long: the connection is lost."""


class MalformedMessageError(NetworkError):
    """A frame whose content is not a message of its type: only a broken or hostile peer sends it."""


class PeerAddressError(NetworkError):
    """Text that is not the address of a peer."""


class ListenError(NetworkError):
    """The node cannot listen for peers where it was told to."""
