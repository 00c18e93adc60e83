"""pycardano's log, silenced: its builder writes its whole state there whenever it fails (for want of money,
say), inputs, amounts and redeemers included, and formats all that after every success too, which takes a
quarter of the time. What matters of a failure is in our own exceptions."""

from __future__ import annotations

import logging

from pycardano import logging as pycardano_logging


def silence_pycardano() -> None:
    """Let pycardano log nothing in this process."""
    # By its level: configuring logging later resets `disabled` (dictConfig does, for all loggers).
    pycardano_logging.logger.setLevel(logging.CRITICAL + 1)
    pycardano_logging.pformat = _nothing


def _nothing(*_args: object, **_options: object) -> str:
    return "<not shown>"
