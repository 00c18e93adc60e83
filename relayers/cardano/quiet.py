"""pycardano's log, silenced: its builder writes its whole state there whenever it fails (for want of money,
say), inputs, amounts and redeemers included, and formats all that after every success too, which takes a
quarter of the time. What matters of a failure is in our own exceptions."""

from __future__ import annotations

from pycardano import logging as pycardano_logging


def silence() -> None:
    """Let pycardano log nothing in this process."""
    pycardano_logging.logger.disabled = True
    pycardano_logging.pformat = _nothing


def _nothing(*_args: object, **_options: object) -> str:
    return "<not shown>"
