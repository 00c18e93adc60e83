"""Tokens that could not be paid out as promised are refused before anything is locked, by name."""

from __future__ import annotations

import struct

import msgspec
import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import mint_to
from spl.token.models import MintToParams

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.errors import CannotReceiveError, PortError
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.port import FeeLevel, LockStatus
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, Preimage, Purpose
from relayers.solana.devnet.genesis import DEMO_TOKEN
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.program import make_token_account, token_account, vault_address
from relayers.solana.settings import SOL
from relayers.solana.terms import to_program
from relayers.solana.wallet import SolanaWallet
from tests import instances
from tests.unit.solana.conftest import Opener, lock_terms

OWNER = Keypair.from_seed(devnet_key("mint owner"))
KEY = bytes(OWNER.pubkey())

# Token-2022's instructions, data only; each takes the mint as its one account. Name → (data, bytes of the
# extension in the mint, those 4 before each included).
EXTENSIONS = {
    "transfer fee": (b"\x1a\x00" + b"\x01" + KEY + b"\x01" + KEY + struct.pack("<HQ", 50, 10**9), 112),
    "mint close authority": (b"\x19\x01" + KEY, 36),
    "default account state": (b"\x1c\x00\x02", 5),  # frozen
    "permanent delegate": (b"\x23" + KEY, 36),
    "transfer hook": (b"\x24\x00" + KEY + KEY, 68),
}


@pytest.fixture
async def node(started: SolanaNode) -> SolanaNode:
    await started.mine(5)
    await started.fund(str(OWNER.pubkey()), SOL, 10**11)
    return started


async def new_mint(
    node: SolanaNode, of_program: Pubkey, extension: str = "", *, freezable: bool = False
) -> str:
    data, extra = EXTENSIONS.get(extension, (b"", 0))
    size = 166 + extra if extension else 82
    mint = Keypair()
    made = CreateAccountParams(
        from_pubkey=OWNER.pubkey(),
        to_pubkey=mint.pubkey(),
        lamports=node.ledger.svm.minimum_balance_for_rent_exemption(size),
        space=size,
        owner=of_program,
    )
    account = [AccountMeta(mint.pubkey(), is_signer=False, is_writable=True)]
    freezer = b"\x01" + KEY if freezable or extension == "default account state" else b"\x00"
    calls = [create_account(made)]
    calls += [Instruction(of_program, data, account)] if data else []
    calls.append(Instruction(of_program, b"\x14\x06" + KEY + freezer, account))  # InitializeMint2, 6 decimals
    message = MessageV0.try_compile(OWNER.pubkey(), calls, [], Hash.from_string(node.ledger.head.hash))
    signature = node.ledger.submit(VersionedTransaction(message, [OWNER, mint]))
    await node.mine(1)
    assert node.ledger.entries[signature].error is None, node.ledger.entries[signature]
    return str(mint.pubkey())


def trusting(mint: str) -> dict[str, frozenset[IssuerPower]]:
    return {mint: frozenset({IssuerPower.FREEZE})}


async def sent(node: SolanaNode, *calls: Instruction) -> None:
    message = MessageV0.try_compile(OWNER.pubkey(), calls, [], Hash.from_string(node.ledger.head.hash))
    signature = node.ledger.submit(VersionedTransaction(message, [OWNER]))
    await node.mine(1)
    assert node.ledger.entries[signature].error is None, node.ledger.entries[signature]


async def with_tokens(node: SolanaNode, mint: str, amount: int) -> None:
    """Give the owner of a mint tokens of it."""
    owner, key = OWNER.pubkey(), Pubkey.from_string(mint)
    account = token_account(owner, key)
    asked = MintToParams(
        program_id=TOKEN_PROGRAM_ID, mint=key, dest=account, mint_authority=owner, amount=amount, signers=[]
    )
    await sent(node, make_token_account(owner, owner, key), mint_to(asked))


async def refusal(node: SolanaNode, opened: Opener, asset: Asset) -> str:
    """Return why the asset is refused: at start, when it is priced and when it is locked, alike."""
    port = opened("mint owner", assets=(SOL, asset))
    hashlock = Preimage(b"never shown").hashlock()
    terms = lock_terms(node, port, hashlock, asset=asset, amount=5, lifetime=1000)
    said = set()
    for attempt in (
        port.setup_actions([SOL, asset]),
        port.fees(asset),
        port.prepare(LockAction(terms), None, FeeLevel()),
    ):
        with pytest.raises(PortError) as failure:
            await attempt
        assert failure.value.hint
        said.add(str(failure.value))
    (words,) = said
    return words


@pytest.mark.parametrize("extension", list(EXTENSIONS))
async def test_a_token_2022_mint_is_refused_with_what_it_does_to_locks(
    node: SolanaNode, opened: Opener, extension: str
) -> None:
    mint = await new_mint(node, TOKEN_2022_PROGRAM_ID, extension)
    said = await refusal(node, opened, Asset(instances.SOLANA, "ODD", 6, mint))
    assert "Token-2022" in said
    assert f"with {extension};" in said


async def test_a_plain_token_2022_mint_is_refused_too(node: SolanaNode, opened: Opener) -> None:
    said = await refusal(
        node, opened, Asset(instances.SOLANA, "NEW", 6, await new_mint(node, TOKEN_2022_PROGRAM_ID))
    )
    assert "belongs to Token-2022;" in said


async def test_what_is_no_mint_or_has_other_decimals_is_refused(node: SolanaNode, opened: Opener) -> None:
    assert "no mint of" in await refusal(node, opened, Asset(instances.SOLANA, "NONE", 6, str(node.program)))
    assert "there is no mint" in await refusal(
        node, opened, Asset(instances.SOLANA, "VOID", 6, str(Keypair().pubkey()))
    )
    wrong = msgspec.structs.replace(DEMO_TOKEN, decimals=9)
    assert "has 6 decimals, the configuration says 9" in await refusal(node, opened, wrong)


async def test_a_mint_whose_issuer_may_freeze_is_taken_where_that_is_accepted_by_name(
    node: SolanaNode, opened: Opener
) -> None:
    mint = await new_mint(node, TOKEN_PROGRAM_ID, freezable=True)
    usdc = Asset(instances.SOLANA, "USDC", 6, mint)
    assert await refusal(node, opened, usdc) == (
        "it cannot be dealt in: the issuer of USDC can freeze all its locks at once (freeze)"
    )
    port = opened("mint owner", assets=(SOL, usdc), powers={mint: frozenset({IssuerPower.CLAWBACK})})
    with pytest.raises(PortError, match="can freeze"):
        await port.setup_actions([usdc])
    port = opened("mint owner", assets=(SOL, usdc), powers=trusting(mint))
    (action,) = await port.setup_actions([usdc])
    assert action.payload == bytes(Pubkey.from_string(mint))
    plain = Asset(instances.SOLANA, "PLAIN", 6, await new_mint(node, TOKEN_PROGRAM_ID))
    assert len(await opened("mint owner", assets=(SOL, plain)).setup_actions([plain])) == 1


async def test_what_is_locked_is_claimed_and_refunded_whatever_is_accepted_by_then(
    node: SolanaNode, opened: Opener
) -> None:
    mint = await new_mint(node, TOKEN_PROGRAM_ID, freezable=True)
    usdc = Asset(instances.SOLANA, "USDC", 6, mint)
    port = opened("mint owner", assets=(SOL, usdc), powers=trusting(mint))
    secret, unopened = Preimage(b"to be claimed"), Preimage(b"never shown").hashlock()
    claimed = lock_terms(node, port, secret.hashlock(), asset=usdc, amount=5)
    refunded = lock_terms(node, port, unopened, asset=usdc, amount=7, lifetime=100)
    await with_tokens(node, mint, 12)
    for terms in (claimed, refunded):
        await port.broadcast(await port.prepare(LockAction(terms), None, FeeLevel()))
        await node.mine(1)
        assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    distrusting = opened("mint owner", assets=(SOL, usdc))
    wallet = SolanaWallet(msgspec.structs.replace(node.settings, assets=(SOL, usdc)))
    assert await wallet.unsigned(Purpose.CLAIM, claimed, secret)
    await distrusting.broadcast(await distrusting.prepare(ClaimAction(claimed, secret), None, FeeLevel()))
    await node.advance_time(200)
    assert await wallet.unsigned(Purpose.REFUND, refunded)
    await wallet.close()
    await distrusting.broadcast(await distrusting.prepare(RefundAction(refunded), None, FeeLevel()))
    await node.mine(1)
    assert await port.read_lock(port.lock_id(claimed), claimed) is LockStatus.CLAIMED
    assert await port.read_lock(port.lock_id(refunded), refunded) is LockStatus.REFUNDED


async def test_a_lock_whose_tokens_are_frozen_is_not_open(node: SolanaNode, opened: Opener) -> None:
    """Neither side could have it out: nothing may be locked against it."""
    mint = await new_mint(node, TOKEN_PROGRAM_ID, freezable=True)
    usdc = Asset(instances.SOLANA, "USDC", 6, mint)
    port = opened("mint owner", assets=(SOL, usdc), powers=trusting(mint))
    await with_tokens(node, mint, 5)
    terms = lock_terms(node, port, Preimage(b"never shown").hashlock(), asset=usdc, amount=5)
    await port.broadcast(await port.prepare(LockAction(terms), None, FeeLevel()))
    await node.mine(1)
    lock_id, mint_key = port.lock_id(terms), Pubkey.from_string(mint)
    account = token_account(vault_address(node.program, to_program(terms, port.chain))[0], mint_key)
    metas = [
        AccountMeta(account, is_signer=False, is_writable=True),
        _read(mint_key),
        AccountMeta(OWNER.pubkey(), is_signer=True, is_writable=False),
    ]
    assert await port.read_lock(lock_id, terms, agreed=True) is LockStatus.OPEN
    await sent(node, Instruction(TOKEN_PROGRAM_ID, b"\x0a", metas))  # FreezeAccount
    assert await port.read_lock(lock_id, terms, agreed=True) is LockStatus.UNKNOWN
    await sent(node, Instruction(TOKEN_PROGRAM_ID, b"\x0b", metas))  # ThawAccount
    assert await port.read_lock(lock_id, terms, agreed=True) is LockStatus.OPEN


async def test_a_payee_whose_account_is_frozen_or_given_away_cannot_receive(
    node: SolanaNode, opened: Opener
) -> None:
    mint = await new_mint(node, TOKEN_PROGRAM_ID, freezable=True)
    asset = Asset(instances.SOLANA, "USDC", 6, mint)
    port = opened("mint owner", assets=(SOL, asset), powers=trusting(mint))
    other = opened("asks for somebody else")
    (action,) = await port.setup_actions([asset])
    await port.broadcast(await port.prepare(action, None, FeeLevel()))
    await node.mine(1)
    assert await port.balance(port.account, asset) == 0
    mint_key = Pubkey.from_string(mint)
    account = token_account(OWNER.pubkey(), mint_key)
    signer = AccountMeta(OWNER.pubkey(), is_signer=True, is_writable=False)
    frozen = [AccountMeta(account, is_signer=False, is_writable=True), _read(mint_key), signer]
    given = [AccountMeta(account, is_signer=False, is_writable=True), signer]
    for data, metas, words in (
        (b"\x0a", frozen, "is frozen"),  # FreezeAccount
        (b"\x0b", frozen, ""),  # ThawAccount
        (b"\x06\x02\x01" + bytes(Keypair().pubkey()), given, "belongs to somebody else"),  # SetAuthority
    ):
        call = Instruction(TOKEN_PROGRAM_ID, data, metas)
        message = MessageV0.try_compile(OWNER.pubkey(), [call], [], Hash.from_string(node.ledger.head.hash))
        node.ledger.submit(VersionedTransaction(message, [OWNER]))
        await node.mine(1)
        if not words:
            continue
        with pytest.raises(CannotReceiveError, match=words):
            await other.balance(port.account, asset)
        assert await port.balance(port.account, asset) == 0  # ours is worth nothing to us


def _read(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)
