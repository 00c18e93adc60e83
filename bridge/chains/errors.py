"""What a chain, its RPC or an action on it can go wrong with. Every error carries a hint."""

from __future__ import annotations

from kernels.errors import RainbowError


class PortError(RainbowError):
    """Something a chain or its RPC did. `hint` says what to do about it."""


class PortUnavailable(PortError):
    """The RPC is down, slow or its answers make no sense: try again later, assume nothing."""

    exit_code = 4


class BadAddress(PortError):
    """Text that is no address of this chain."""


class InsufficientFunds(PortError):
    """The bridge's own account cannot pay for this action now."""


class ActionRefused(PortError):
    """The chain would refuse this action as things stand (simulation says so): nothing was signed."""


class CannotReceive(PortError):
    """The address cannot be paid in this asset as things stand: no account, no trustline."""


class BadAuthorization(PortError):
    """What was handed over does not authorise the claim it is for."""


class NothingToDo(PortError):
    """What the action is for has happened already, by whomever: it is done with."""


class DeepReorg(PortError):
    """The chain shares no block with the known ring: an operator must look."""


class FamilyError(RainbowError):
    """A family of chains that is missing, ambiguous or broken. `hint` says what to do."""

    exit_code = 3
