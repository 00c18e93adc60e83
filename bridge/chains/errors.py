"""What a chain, its RPC or an action on it can go wrong with. Every error carries a hint."""

from __future__ import annotations

from kernels.errors import RainbowError


class PortError(RainbowError):
    """Something a chain or its RPC did. `hint` says what to do about it."""


class PortUnavailableError(PortError):
    """The RPC is down, slow or answers something else: try again later, assume nothing."""

    exit_code = 4


class BadAddressError(PortError):
    """Text that is not an address of this chain."""


class InsufficientFundsError(PortError):
    """The bridge's own account cannot pay for this action now."""


class ActionRefusedError(PortError):
    """The chain would refuse this action as things stand (simulation says so): nothing was signed."""


class CannotReceiveError(PortError):
    """The address cannot be paid in this asset as things stand: no account, no trustline."""


class TooDearError(PortError):
    """The action would cost more than its cap allows now; it passes when the fees fall. The chain is well:
    only this action waits."""

    exit_code = 4


class BadAuthorizationError(PortError):
    """What was handed over does not authorise the claim it is for."""


class NothingToDoError(PortError):
    """What the action is for has happened already, by our hand or another's: nothing is left to do."""


class DeepReorgError(PortError):
    """The chain shares no block with the known ring: an operator must look."""


class FamilyError(RainbowError):
    """A family of chains that is missing, ambiguous or broken. `hint` says what to do."""

    exit_code = 3
