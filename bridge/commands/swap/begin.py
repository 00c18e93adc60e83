"""`rainbow swap start` and `rainbow swap lock`: take a quote, then lock what it asks for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.quote import ask_quote, quote_lines
from bridge.commands.swap.app import app
from bridge.commands.swap.shown import find_record, pretty, tx_fields, user_wallet
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    ApiUrl,
    Firm,
    Gasless,
    Keystore,
    KeystorePassword,
    LockFee,
    Receive,
    Recovery,
    RecoveryPassword,
    SwapArgument,
    check_named_config,
    client_token,
    recovery_password,
)
from bridge.protocol.amounts import to_text
from bridge.protocol.types import Amount, Asset, ChainId, LockTerms, Purpose
from bridge.wire.swaps import NextStep, UnsignedTxView

if TYPE_CHECKING:
    from bridge.client.swap import UserSwap, UserWallet

RECIPE_SUFFIX = "-recipe"
"""Ends the name of a format that only describes a transaction: a part of it is for the user alone to make."""


@app.command()
def start(
    source: Annotated[str, typer.Argument(help="What you pay with, e.g. ethereum:ETH.")],
    destination: Annotated[str, typer.Argument(help="What you get, e.g. zion:ZION.")],
    amount: Annotated[str, typer.Argument(help='In whole coins, e.g. "0.5".')],
    refund_address: Annotated[str, typer.Option(help="Your address on the paying chain: it locks.")],
    recipient: Annotated[str, typer.Option(help="Your address on the other chain.")],
    receive: Receive = False,
    gasless: Gasless = False,
    firm: Firm = False,
    lock_fee: LockFee = "",
    keystore: Keystore = None,
    keystore_password_file: KeystorePassword = None,
    password_file: RecoveryPassword = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    public_key: Annotated[str, typer.Option(help="The bridge's key, to pin it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = None,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Begin a swap. The secret is in the recovery file before the bridge learns its hash.

    With --keystore the lock is signed and sent from your account; else the transaction to sign is printed.
    Your keystore, its address and its balance are looked at before the bridge is told anything.
    """
    from bridge.client.recovery import RecoveryDir
    from bridge.client.swap import UserSwap, checked_quote

    with speaking(as_json) as output:
        check_named_config(config)
        password = recovery_password(password_file, new=True)

        async def begin() -> None:
            async with AsyncExitStack() as stack:
                wallet: UserWallet | None = None
                if keystore is not None:
                    chain = ChainId(source.partition(":")[0])
                    wallet = await stack.enter_async_context(
                        user_wallet(config, chain, keystore, keystore_password_file)
                    )
                    _check_owner(wallet, refund_address)
                client = await stack.enter_async_context(BridgeClient(api, token=client_token()))
                made = await ask_quote(
                    client,
                    source,
                    destination,
                    amount,
                    receive=receive,
                    gasless=gasless,
                    firm=firm,
                    lock_fee=lock_fee,
                )
                if wallet is not None:
                    body = checked_quote(made, public_key)
                    await _check_balance(wallet, body.source, body.price.source)
                output.note("")
                if not as_json:
                    output.console.print(quote_lines(made))
                if not (yes or as_json or typer.confirm("Swap on these terms?")):
                    raise typer.Exit(1)
                swap = await UserSwap.begin(
                    client,
                    RecoveryDir(recovery_dir),
                    made,
                    refund_address=refund_address,
                    recipient=recipient,
                    password=password,
                    bridge_url=api,
                    public_key=public_key,
                )
                created = swap.created or await swap.place()
                sent = "" if wallet is None else await _lock(wallet, swap, output)
                transaction = created.transaction
                if not sent and transaction.format.endswith(RECIPE_SUFFIX):
                    transaction = await _from_recipe(config, swap.record.source, output) or transaction
                body_shown = {**msgspec.to_builtins(created), "lock_tx": sent}
                output.result(
                    {**body_shown, "transaction": msgspec.to_builtins(transaction)},
                    f"swap {swap.id}",
                    f"locked by {sent}" if sent else "sign and send this with your wallet:",
                    *([] if sent else [pretty(transaction)]),
                    f"then: rainbow swap claim {swap.id[:8]}",
                )

        asyncio.run(begin())


@app.command()
def lock(
    swap: SwapArgument,
    keystore: Annotated[Path, typer.Option("--keystore", help="The keystore of the swap's refund address.")],
    keystore_password_file: KeystorePassword = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    config: ConfigFile = None,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Lock for a swap that was begun and not locked yet. Repeating it is safe."""
    from bridge.client.errors import UnsafeError
    from bridge.client.recovery import RecoveryDir
    from bridge.client.swap import UserSwap

    async def work(output: Output) -> None:
        record = find_record(recovery_dir, swap)
        async with AsyncExitStack() as stack:
            wallet = await stack.enter_async_context(
                user_wallet(config, record.source.chain, keystore, keystore_password_file)
            )
            _check_owner(wallet, record.source.sender)
            client = await stack.enter_async_context(
                BridgeClient(record.bridge_url or api, token=client_token())
            )
            mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
            if not mine.id:
                await mine.place()
            view = await mine.status()
            known = mine.record.sent.get(Purpose.LOCK.value)
            stands = known is not None and await wallet.resend(known)
            if view.next is not NextStep.LOCK and not stands:
                raise UnsafeError(
                    f"the bridge does not wait for your lock: {view.detail or view.status.value}",
                    f"do not lock any more; `rainbow swap status {mine.id[:8]}` shows how it stands",
                )
            if not stands:
                await _check_balance(wallet, mine.record.source.asset, mine.record.source.amount)
            sent = await _lock(wallet, mine, output)
            output.result(
                {"swap_id": mine.id, "lock_tx": sent},
                f"locked by {sent}",
                f"then: rainbow swap claim {mine.id[:8]}",
            )

    with speaking(as_json) as output:
        asyncio.run(work(output))


async def _from_recipe(config: Path | None, terms: LockTerms, output: Output) -> UnsignedTxView | None:
    """Make the lock that a recipe describes, on the user's side; None without a node of the user's."""
    from bridge import config as configuration
    from bridge.config import ConfigError
    from bridge.wiring.ports import wallet_builder

    try:
        builder = wallet_builder(configuration.load(config), terms.chain)
    except (ConfigError, ValueError):
        output.note(
            f"with [chains.{terms.chain}] in a configuration file this would be a transaction ready to sign"
        )
        return None
    try:
        unsigned = await builder.unsigned(Purpose.LOCK, terms)
    finally:
        await builder.close()
    return UnsignedTxView(purpose=Purpose.LOCK.value, chain=terms.chain, **tx_fields(unsigned))


def _check_owner(wallet: UserWallet, refund_address: str) -> None:
    """Raise `UnsafeError` unless the wallet locks from this very address."""
    from bridge.client.errors import UnsafeError

    if wallet.address != wallet.port.parse_address(refund_address):
        raise UnsafeError(
            f"the keystore belongs to {wallet.address}, not to the refund address {refund_address}",
            "give the keystore of the refund address; nothing was sent",
        )


async def _check_balance(wallet: UserWallet, asset: Asset, amount: Amount) -> None:
    """Raise `UnsafeError` unless the wallet has what is to be locked. What the chain itself charges comes on
    top: signing tells if that is missing."""
    from bridge.client.errors import UnsafeError

    has = await wallet.port.balance(wallet.address, asset)
    if has < amount:
        raise UnsafeError(
            f"you have {to_text(has, asset.decimals)} {asset.key}, and this swap takes "
            f"{to_text(amount, asset.decimals)}",
            "swap less, or put more into your account first; nothing was locked",
        )


async def _lock(wallet: UserWallet, swap: UserSwap, output: Output) -> str:
    terms = swap.record.source
    _check_owner(wallet, terms.sender)
    for approval in await wallet.approvals(terms.asset):
        output.note(f"approval {approval.tx_id}")
        await wallet.settled(approval)
    return await swap.lock(wallet)
