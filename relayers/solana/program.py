"""The HTLC program as its callers see it: vault addresses, instructions, and reading both back. Pure.

The layouts are those at the head of contracts/solana/htlc.c.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from pathlib import Path

import msgspec
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account

ARTIFACTS = Path(__file__).parent / "artifacts"

SOL_VAULT_BYTES = 128
TOKEN_VAULT_BYTES = 192
TOKEN_ACCOUNT_BYTES = 165
MAX_AMOUNT = 2**64 - 1
MAX_DEADLINE = 2**63 - 1

_SOL_TAG = b"RBW-SOL1"
_TOKEN_TAG = b"RBW-SPL1"
_LOCK = struct.Struct("<Q32s32sqQQ")
_VAULT = struct.Struct("<8s32s32s32sqQQ")
_WORD = struct.Struct("<Q")
_EARLY_REFUND_ACCOUNTS = {4, 6}
"""Of SOL and of tokens: one more than for other spends, the recipient's (contracts/solana/htlc.c, refund)."""


class Operation(IntEnum):
    """The first word of an instruction."""

    LOCK_SOL = 0
    CLAIM = 1
    REFUND = 2
    LOCK_TOKEN = 3


class ProgramError(IntEnum):
    """The program's own error codes (`InstructionError::Custom`)."""

    BAD_DATA = 1
    BAD_ACCOUNT_COUNT = 2
    SIGNATURE_MISSING = 3
    WRONG_VAULT_ADDRESS = 4
    NOT_OUR_VAULT = 5
    VAULT_IN_USE = 6
    WRONG_PREIMAGE = 7
    DEADLINE_NOT_REACHED = 8
    WRONG_ACCOUNT = 9
    DEADLINE_PAST = 10
    BAD_AMOUNT = 11
    BAD_TOKEN_ACCOUNT = 12
    UNKNOWN_RENT = 13


class VaultTerms(msgspec.Struct, frozen=True):
    """What a vault commits to; `mint` is None for SOL. Amounts in lamports or the token's smallest unit."""

    sender: Pubkey
    recipient: Pubkey
    hashlock: bytes
    deadline: int
    amount: int
    mint: Pubkey | None = None

    @property
    def size(self) -> int:
        """Bytes of the vault account."""
        return SOL_VAULT_BYTES if self.mint is None else TOKEN_VAULT_BYTES

    def seeds(self) -> list[bytes]:
        """Return the seeds of the vault's address without the bump: every term is one."""
        seeds = [
            b"htlc-sol" if self.mint is None else b"htlc-spl",
            bytes(self.sender),
            bytes(self.recipient),
            self.hashlock,
            struct.pack("<q", self.deadline),
            _WORD.pack(self.amount),
        ]
        return seeds if self.mint is None else [*seeds, bytes(self.mint)]


class LockCall(msgspec.Struct, frozen=True):
    """A lock instruction, read."""

    vault: Pubkey
    terms: VaultTerms


class ClaimCall(msgspec.Struct, frozen=True):
    """A claim instruction, read."""

    vault: Pubkey
    preimage: bytes

    def __repr__(self) -> str:
        return f"ClaimCall({self.vault})"


class RefundCall(msgspec.Struct, frozen=True):
    """A refund instruction, read. `consenting`: who must have agreed to it: before the deadline the
    recipient, None when it only waits for the deadline."""

    vault: Pubkey
    consenting: Pubkey | None = None


Call = LockCall | ClaimCall | RefundCall


def program_bytes(version: int = 0) -> bytes:
    """Return the committed program in SBPF `version` (0 or 3)."""
    return (ARTIFACTS / f"rainbow_htlc_v{version}.so").read_bytes()


def vault_address(program: Pubkey, terms: VaultTerms) -> tuple[Pubkey, int]:
    """Return the vault of these terms and its bump."""
    return Pubkey.find_program_address(terms.seeds(), program)


def token_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the associated token account of `owner` (classic Token program)."""
    seeds = [bytes(owner), bytes(TOKEN_PROGRAM_ID), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN_PROGRAM_ID)[0]


def make_token_account(payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Return the instruction that makes `owner`'s associated token account unless it exists."""
    return create_idempotent_associated_token_account(payer, owner, mint)


def lock(program: Pubkey, terms: VaultTerms) -> list[Instruction]:
    """Return what locks `terms`, paid and signed by the sender from its associated token account."""
    vault, bump = vault_address(program, terms)
    accounts = [_signer(terms.sender), _writable(vault), _readonly(SYSTEM_PROGRAM)]
    operation = Operation.LOCK_SOL if terms.mint is None else Operation.LOCK_TOKEN
    data = _LOCK.pack(operation, bytes(terms.recipient), terms.hashlock, terms.deadline, terms.amount, bump)
    if terms.mint is None:
        return [Instruction(program, data, accounts)]
    accounts += [
        _writable(token_account(terms.sender, terms.mint)),
        _writable(token_account(vault, terms.mint)),
        _readonly(TOKEN_PROGRAM_ID),
    ]
    return [
        make_token_account(terms.sender, vault, terms.mint),
        Instruction(program, data + bytes(terms.mint), accounts),
    ]


def claim(program: Pubkey, terms: VaultTerms, preimage: bytes, payer: Pubkey) -> list[Instruction]:
    """Return what pays the recipient; `payer` pays for its token account if that has to be made."""
    data = _WORD.pack(Operation.CLAIM) + preimage
    spend = Instruction(program, data, _spend_accounts(program, terms, terms.recipient))
    return _with_token_account(spend, terms, terms.recipient, payer)


def refund(
    program: Pubkey, terms: VaultTerms, payer: Pubkey, *, cooperative: bool = False
) -> list[Instruction]:
    """Return what pays the sender; `cooperative` needs the recipient's signature and no deadline."""
    accounts = _spend_accounts(program, terms, terms.sender)
    if cooperative:
        accounts.append(AccountMeta(terms.recipient, is_signer=True, is_writable=False))
    spend = Instruction(program, _WORD.pack(Operation.REFUND), accounts)
    return _with_token_account(spend, terms, terms.sender, payer)


def _with_token_account(
    spend: Instruction, terms: VaultTerms, payee: Pubkey, payer: Pubkey
) -> list[Instruction]:
    if terms.mint is None:
        return [spend]
    return [make_token_account(payer, payee, terms.mint), spend]


def _spend_accounts(program: Pubkey, terms: VaultTerms, payee: Pubkey) -> list[AccountMeta]:
    vault, _ = vault_address(program, terms)
    if terms.mint is None:
        return [_writable(vault), _writable(payee), _writable(terms.sender)]
    return [
        _writable(vault),
        _writable(token_account(payee, terms.mint)),
        _writable(terms.sender),
        _writable(token_account(vault, terms.mint)),
        _readonly(TOKEN_PROGRAM_ID),
    ]


def read_call(accounts: list[Pubkey], data: bytes) -> Call | None:
    """Read an instruction of the program that succeeded; None for what it would not have accepted."""
    if len(data) < _WORD.size or len(accounts) < 3:
        return None
    operation = _WORD.unpack_from(data)[0]
    if operation in {Operation.LOCK_SOL, Operation.LOCK_TOKEN}:
        is_token = operation == Operation.LOCK_TOKEN
        if len(data) != _LOCK.size + 32 * is_token:
            return None
        _, recipient, hashlock, deadline, amount, _ = _LOCK.unpack_from(data)
        mint = Pubkey.from_bytes(data[_LOCK.size :]) if is_token else None
        terms = VaultTerms(accounts[0], Pubkey.from_bytes(recipient), hashlock, deadline, amount, mint)
        return LockCall(accounts[1], terms)
    if operation == Operation.CLAIM:
        return ClaimCall(accounts[0], data[_WORD.size :])
    if operation != Operation.REFUND or len(data) != _WORD.size:
        return None
    return RefundCall(accounts[0], accounts[-1] if len(accounts) in _EARLY_REFUND_ACCOUNTS else None)


def read_vault(data: bytes) -> VaultTerms | None:
    """Read a vault account's data; None if it holds no lock."""
    if len(data) not in {SOL_VAULT_BYTES, TOKEN_VAULT_BYTES}:
        return None
    tag, sender, recipient, hashlock, deadline, amount, _ = _VAULT.unpack_from(data)
    if tag != (_SOL_TAG if len(data) == SOL_VAULT_BYTES else _TOKEN_TAG):
        return None
    mint = Pubkey.from_bytes(data[_VAULT.size : _VAULT.size + 32]) if tag == _TOKEN_TAG else None
    return VaultTerms(
        Pubkey.from_bytes(sender), Pubkey.from_bytes(recipient), hashlock, deadline, amount, mint
    )


def _signer(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=True)


def _writable(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=True)


def _readonly(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)
