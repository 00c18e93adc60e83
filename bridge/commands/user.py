"""What the commands for a user's own swaps share: options, passwords, tokens, and showing swaps."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.wire.swaps import NextStep, SwapView

if TYPE_CHECKING:
    from bridge.config import Settings
    from bridge.keys.keystore import SecretKey

ApiUrl = Annotated[str, typer.Option("--api", envvar="RAINBOW_API_URL", help="Address of the bridge.")]
Recovery = Annotated[
    Path,
    typer.Option("--recovery-dir", envvar="RAINBOW_RECOVERY_DIR", help="Where recovery files are kept."),
]
Keystore = Annotated[
    Path | None, typer.Option("--keystore", help="Your own keystore on the chain to sign for.")
]
KeystorePassword = Annotated[
    Path | None,
    typer.Option("--keystore-password-file", help="A private file with that keystore's password."),
]
RecoveryPassword = Annotated[
    Path | None, typer.Option("--password-file", help="A private file with the recovery password.")
]
SwapArgument = Annotated[str, typer.Argument(help="The swap's id or hashlock, or an unambiguous beginning.")]
Receive = Annotated[bool, typer.Option("--receive", help="AMOUNT is what arrives, not what is paid.")]
Gasless = Annotated[
    bool, typer.Option("--gasless", help="The relayer claims for you; you need no coins there.")
]
Firm = Annotated[
    bool,
    typer.Option(
        "--firm", help="Fix what arrives now, at a higher price: else it follows the price a little."
    ),
]
LockFee = Annotated[
    str,
    typer.Option(
        "--lock-fee",
        help="Stake credit on finishing, for a smaller spread: none, low, even or bond. "
        "Without it: low, if your credit is enough.",
    ),
]

WRONG_KEYSTORE_HINT = (
    "give the password of this keystore with --keystore-password-file or RAINBOW_KEYSTORE_PASSWORD"
)
DEFAULT_RECOVERY = Path.home() / ".rainbow" / "swaps"
SWAP_ID_LENGTH = 32
RECOVERY_PASSWORD = "RAINBOW_RECOVERY_PASSWORD"  # noqa: S105 -- the variable's name


def client_token() -> str:
    """Return the client token from the environment, or a new one."""
    from bridge.client.client import new_token

    return os.environ.get("RAINBOW_CLIENT_TOKEN", "") or new_token()


def recovery_password(file: Path | None, *, new: bool = False) -> str:
    """Return the password of recovery files: environment, then a file, then a prompt on a terminal."""
    from bridge.client.recovery import RecoveryError
    from bridge.keys.keystore import KeystoreError, find_password

    if RECOVERY_PASSWORD in os.environ:
        return os.environ[RECOVERY_PASSWORD]
    if file is not None:
        try:
            return find_password(file, environment={})
        except KeystoreError as error:
            raise RecoveryError(str(error), error.hint) from None
    if not sys.stdin.isatty():
        raise RecoveryError("no recovery password", f"set {RECOVERY_PASSWORD} or give --password-file")
    if new:
        return str(typer.prompt("Recovery password", hide_input=True, confirmation_prompt=True))
    return getpass.getpass("Recovery password: ")


def user_key(settings: Settings, keystore: Path, password_file: Path | None) -> SecretKey:
    """Open a user's own keystore. Raises `KeystoreError`."""
    from bridge.keys.keystore import check_private, find_password, load

    check_private(keystore, "check the path given with --keystore")  # before anybody types a password
    return load(
        keystore,
        find_password(password_file),
        settings.network.value,
        password_hint=WRONG_KEYSTORE_HINT,
    )


def check_named_config(config: Path | None) -> None:
    """Refuse a configuration file that is named, by option or environment, but is not there."""
    if config is not None or os.environ.get("RAINBOW_CONFIG"):
        from bridge.config import find_file

        find_file(config)


def swap_lines(view: SwapView) -> list[str]:
    """Return a swap's status as lines for people."""
    lines = [f"swap {view.id}: [bold]{view.status.value}[/]"]
    if view.next is not NextStep.NONE:
        lines.append(f"next: {view.next.value} — {view.detail}")
    legs = [("source", view.source), ("destination", view.destination)]
    if view.payback is not None:
        legs.append(("payback", view.payback))
    for name, leg in legs:
        money = f"{leg.terms.money.display} {leg.terms.money.asset}"
        text = f"{name}: {money} on {leg.terms.chain}, {leg.state.value}"
        if leg.lock_tx:
            text += f", {leg.confirmations}/{leg.required_confirmations} confirmations, lock {leg.lock_tx}"
        if leg.spend_tx:
            text += f", spent by {leg.spend_tx}"
        lines.append(text)
    return lines
