"""Only wallets are paid on Solana: asked before anything is locked."""

from __future__ import annotations

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from bridge.chains.errors import CannotReceiveError
from bridge.chains.port import ChecksReceivers
from bridge.protocol.types import Address
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL
from tests.unit.solana.conftest import Opener

TOKENS = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (None, ""),
        (Account(10**9, b"", SYSTEM_PROGRAM, executable=False), ""),
        (Account(10**9, bytes(80), SYSTEM_PROGRAM, executable=False), "an account that holds data"),
        (Account(10**9, bytes(165), TOKENS, executable=False), f"an account of the program {TOKENS}"),
    ],
)
async def test_an_address_that_is_no_wallet_cannot_be_paid(
    started: SolanaNode, opened: Opener, account: Account | None, words: str
) -> None:
    port = opened("payer")
    assert isinstance(port, ChecksReceivers)
    key = Keypair().pubkey()  # on the curve: its address alone says nothing
    if account is not None:
        started.ledger.svm.set_account(key, account)
    address = port.parse_address(str(key))
    if not words:
        await port.check_receiver(address, SOL)
        return
    with pytest.raises(CannotReceiveError, match=words) as caught:
        await port.check_receiver(Address(str(key)), SOL)
    assert caught.value.hint


async def test_a_program_cannot_be_paid_although_its_address_may_be_on_the_curve(opened: Opener) -> None:
    port = opened("payer")
    with pytest.raises(CannotReceiveError, match="is a program, not a wallet"):
        await port.check_receiver(port.contract, SOL)
