"""The program in the real virtual machine (LiteSVM): accounts, clock, tokens, and sending."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import msgspec
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import initialize_mint2, mint_to
from spl.token.models import InitializeMint2Params, MintToParams

from relayers.solana import program
from relayers.solana.program import ProgramError, VaultTerms

NOW = 1_800_000_000
SOL = 10**9
SECRET = b"the preimage of the vault tests."


class Bank:
    """One virtual machine with the program, a sender, a recipient and a thief of ten SOL each."""

    def __init__(self, code: bytes, *, mainnet: bool = False) -> None:
        self.svm = LiteSVM().with_mainnet_features().with_default_programs() if mainnet else LiteSVM()
        self.program = Pubkey.new_unique()
        self.svm.add_program(self.program, code)
        self.sender, self.recipient, self.thief = Keypair(), Keypair(), Keypair()
        for key in (self.sender, self.recipient, self.thief):
            self.svm.airdrop(key.pubkey(), 10 * SOL)
        self.mint: Pubkey | None = None
        self.set_time(NOW)

    def set_time(self, seconds: int) -> None:
        clock = self.svm.get_clock()
        clock.unix_timestamp = seconds
        self.svm.set_clock(clock)

    def with_token(self) -> Bank:
        """Make a mint and give the sender 1,000 units of 10⁶."""
        mint = Keypair()
        self.mint = mint.pubkey()
        rent = self.svm.minimum_balance_for_rent_exemption(82)
        made = CreateAccountParams(
            from_pubkey=self.sender.pubkey(),
            to_pubkey=self.mint,
            lamports=rent,
            space=82,
            owner=TOKEN_PROGRAM_ID,
        )
        asked = InitializeMint2Params(
            decimals=6,
            program_id=TOKEN_PROGRAM_ID,
            mint=self.mint,
            mint_authority=self.sender.pubkey(),
            freeze_authority=None,
        )
        owners = [key.pubkey() for key in (self.sender, self.recipient, self.thief)]
        accounts = [program.make_token_account(self.sender.pubkey(), one, self.mint) for one in owners]
        self.do([create_account(made), initialize_mint2(asked), *accounts], self.sender, mint)
        self.mint_tokens(program.token_account(self.sender.pubkey(), self.mint), 10**9)
        return self

    def mint_tokens(self, to: Pubkey, amount: int) -> None:
        assert self.mint is not None
        asked = MintToParams(
            program_id=TOKEN_PROGRAM_ID,
            mint=self.mint,
            dest=to,
            mint_authority=self.sender.pubkey(),
            amount=amount,
            signers=[],
        )
        self.do([mint_to(asked)], self.sender)

    def terms(self, preimage: bytes = SECRET, **changes: object) -> VaultTerms:
        """Return terms of one SOL, or of a hundred tokens where there is a mint, for one hour."""
        terms = VaultTerms(
            self.sender.pubkey(),
            self.recipient.pubkey(),
            hashlib.sha256(preimage).digest(),
            NOW + 3600,
            SOL if self.mint is None else 10**8,
            self.mint,
        )
        return msgspec.structs.replace(terms, **changes)

    def send(
        self, instructions: Sequence[Instruction], *signers: Keypair
    ) -> TransactionMetadata | FailedTransactionMetadata:
        self.svm.expire_blockhash()
        message = Message(list(instructions), signers[0].pubkey())
        return self.svm.send_transaction(Transaction(list(signers), message, self.svm.latest_blockhash()))

    def do(self, instructions: Sequence[Instruction], *signers: Keypair) -> TransactionMetadata:
        result = self.send(instructions, *signers)
        assert isinstance(result, TransactionMetadata), (result.err(), result.meta().logs())
        return result

    def refused(self, instructions: Sequence[Instruction], *signers: Keypair) -> str:
        """Send what must fail; return "Custom(n)" or the runtime's own word for it."""
        result = self.send(instructions, *signers)
        assert isinstance(result, FailedTransactionMetadata), "this must fail"
        return str(result.err())

    def refused_with(
        self, error: ProgramError, instructions: Sequence[Instruction], *signers: Keypair
    ) -> None:
        said = self.refused(instructions, *signers)
        assert f"Custom({error.value})" in said, (said, error.name)

    def lock(self, terms: VaultTerms) -> TransactionMetadata:
        return self.do(program.lock(self.program, terms), self.sender)

    def claim(
        self, terms: VaultTerms, preimage: bytes = SECRET, by: Keypair | None = None
    ) -> list[Instruction]:
        return program.claim(self.program, terms, preimage, (by or self.thief).pubkey())

    def refund(self, terms: VaultTerms, *, cooperative: bool = False) -> list[Instruction]:
        return program.refund(self.program, terms, self.thief.pubkey(), cooperative=cooperative)

    def vault(self, terms: VaultTerms) -> Pubkey:
        return program.vault_address(self.program, terms)[0]

    def lamports(self, of: Keypair | Pubkey) -> int:
        return self.svm.get_balance(of.pubkey() if isinstance(of, Keypair) else of) or 0

    def tokens(self, of: Keypair | Pubkey) -> int:
        """Return the tokens of a key's associated account, or in a token account."""
        assert self.mint is not None
        account = program.token_account(of.pubkey(), self.mint) if isinstance(of, Keypair) else of
        found = self.svm.get_account(account)
        return 0 if found is None else int(struct.unpack_from("<Q", found.data, 64)[0])

    def is_open(self, terms: VaultTerms) -> bool:
        found = self.svm.get_account(self.vault(terms))
        return found is not None and found.owner == self.program and program.read_vault(found.data) == terms

    def is_gone(self, terms: VaultTerms) -> bool:
        found = self.svm.get_account(self.vault(terms))
        return found is None or (found.lamports == 0 and not found.data)
