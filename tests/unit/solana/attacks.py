"""What must not work, and what must: one function per rule, each on a fresh bank.

They are run on the program as it is, and on the program with one check removed, where one of them must fail.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountParams,
    TransferParams,
    create_account,
    transfer,
)
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from relayers.solana import program
from relayers.solana.program import ProgramError, VaultTerms
from tests.unit.solana.bank import NOW, SECRET, SOL, Bank

Attack = Callable[[Bank], None]


def with_account(
    instruction: Instruction, at: int, key: Pubkey, *, signer: bool | None = None
) -> Instruction:
    metas = list(instruction.accounts)
    old = metas[at]
    metas[at] = AccountMeta(key, old.is_signer if signer is None else signer, old.is_writable)
    return Instruction(instruction.program_id, instruction.data, metas)


def with_accounts(instruction: Instruction, metas: list[AccountMeta]) -> Instruction:
    return Instruction(instruction.program_id, instruction.data, metas)


def with_data(instruction: Instruction, data: bytes) -> Instruction:
    return Instruction(instruction.program_id, data, instruction.accounts)


def lock_one(bank: Bank, terms: VaultTerms) -> Instruction:
    """Return the lock instruction itself, the vault's token account made already."""
    instructions = program.lock(bank.program, terms)
    if terms.mint is not None:
        bank.do(instructions[:1], bank.sender)
    return instructions[-1]


# ------------------------------------------------------------------ SOL


def a_claim_pays_the_recipient_and_the_rent_comes_back(bank: Bank) -> None:
    terms = bank.terms()
    before = bank.lamports(bank.sender)
    fee = 5000
    bank.lock(terms)
    assert bank.is_open(terms)
    bank.do(bank.claim(terms), bank.thief)
    assert bank.is_gone(terms)
    assert bank.lamports(bank.recipient) == 11 * SOL
    assert bank.lamports(bank.sender) == before - SOL - fee


def preimages_have_0_to_64_bytes(bank: Bank) -> None:
    for size in (0, 1, 7, 31, 32, 33, 63, 64):
        secret = bytes(range(size))
        terms = bank.terms(secret)
        bank.lock(terms)
        bank.do(bank.claim(terms, secret), bank.thief)
    secret = bytes(65)
    terms = bank.terms(secret)
    bank.lock(terms)
    bank.refused_with(ProgramError.BAD_DATA, bank.claim(terms, secret), bank.thief)


def a_wrong_preimage_opens_nothing(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    for wrong in (b"", SECRET[:-1], SECRET + b"\0", terms.hashlock, bytes(64)):
        bank.refused_with(ProgramError.WRONG_PREIMAGE, bank.claim(terms, wrong), bank.thief)
    assert bank.is_open(terms)


def a_thief_redirects_neither_amount_nor_rent(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    thief = bank.thief.pubkey()
    (claim,) = bank.claim(terms)
    for at in (1, 2):
        bank.refused_with(ProgramError.WRONG_ACCOUNT, [with_account(claim, at, thief)], bank.thief)
    bank.set_time(terms.deadline)
    (refund,) = bank.refund(terms)
    for at in (1, 2):
        bank.refused_with(ProgramError.WRONG_ACCOUNT, [with_account(refund, at, thief)], bank.thief)
    swapped = with_account(refund, 1, bank.recipient.pubkey())
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [swapped], bank.thief)


def a_refund_waits_for_the_very_second_of_the_deadline(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    before = bank.lamports(bank.sender)
    for now in (NOW, terms.deadline - 1):
        bank.set_time(now)
        bank.refused_with(ProgramError.DEADLINE_NOT_REACHED, bank.refund(terms), bank.thief)
    bank.set_time(terms.deadline)
    bank.do(bank.refund(terms), bank.thief)
    rent = bank.svm.minimum_balance_for_rent_exemption(program.SOL_VAULT_BYTES)
    assert bank.lamports(bank.sender) == before + SOL + rent


def a_claim_is_good_after_the_deadline(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    bank.set_time(terms.deadline + 10**6)
    bank.do(bank.claim(terms), bank.thief)
    assert bank.lamports(bank.recipient) == 11 * SOL


def a_lock_is_spent_once(bank: Bank) -> None:
    for deadline in (NOW + 10, NOW + 20):
        terms = bank.terms(deadline=deadline)
        bank.set_time(NOW)
        bank.lock(terms)
        bank.set_time(deadline)
        bank.do(bank.claim(terms) if deadline == NOW + 10 else bank.refund(terms), bank.thief)
        bank.refused_with(ProgramError.NOT_OUR_VAULT, bank.claim(terms), bank.thief)
        bank.refused_with(ProgramError.NOT_OUR_VAULT, bank.refund(terms), bank.thief)


def the_recipient_alone_gives_back_early(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    (early,) = bank.refund(terms, cooperative=True)
    last = len(early.accounts) - 1
    unsigned = with_account(early, last, bank.recipient.pubkey(), signer=False)
    bank.refused_with(ProgramError.SIGNATURE_MISSING, [unsigned], bank.thief)
    forged = with_account(early, last, bank.sender.pubkey())
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [forged], bank.thief, bank.sender)
    before = bank.lamports(bank.sender)
    bank.do([early], bank.thief, bank.recipient)
    assert bank.lamports(bank.sender) > before + SOL


def a_lock_needs_its_senders_signature(bank: Bank) -> None:
    lock = lock_one(bank, bank.terms())
    unsigned = with_account(lock, 0, bank.sender.pubkey(), signer=False)
    bank.refused_with(ProgramError.SIGNATURE_MISSING, [unsigned], bank.thief)


def a_vault_stands_at_the_address_of_all_its_terms_only(bank: Bank) -> None:
    terms = bank.terms()
    lock = lock_one(bank, terms)
    changes = (
        {"recipient": bank.thief.pubkey()},
        {"hashlock": bytes(32)},
        {"deadline": terms.deadline + 1},
        {"amount": terms.amount - 1},
        {"sender": bank.thief.pubkey()},
    )
    for change in changes:
        other = bank.vault(msgspec.structs.replace(terms, **change))
        bank.refused_with(ProgramError.WRONG_VAULT_ADDRESS, [with_account(lock, 1, other)], bank.sender)
    bank.refused_with(
        ProgramError.WRONG_VAULT_ADDRESS, [with_account(lock, 1, bank.thief.pubkey())], bank.sender
    )
    for bump in range(256):  # one whose address would be on the curve, or another vault of the same terms
        bumped = with_data(lock, lock.data[:88] + struct.pack("<Q", bump) + lock.data[96:])
        if bumped.data != lock.data:
            bank.refused_with(ProgramError.WRONG_VAULT_ADDRESS, [bumped], bank.sender)


def the_same_terms_stand_once_at_a_time(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    bank.refused_with(ProgramError.VAULT_IN_USE, program.lock(bank.program, terms)[-1:], bank.sender)
    bank.do(bank.claim(terms), bank.thief)
    bank.lock(terms)
    assert bank.is_open(terms)


def lamports_sent_ahead_do_not_block_a_lock(bank: Bank) -> None:
    terms = bank.terms()
    gift = TransferParams(from_pubkey=bank.thief.pubkey(), to_pubkey=bank.vault(terms), lamports=10**6)
    bank.do([transfer(gift)], bank.thief)
    before = bank.lamports(bank.recipient)
    bank.lock(terms)
    bank.do(bank.claim(terms), bank.thief)
    assert bank.lamports(bank.recipient) == before + SOL


def a_vault_revived_in_the_same_transaction_is_nothing(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    rent = bank.svm.minimum_balance_for_rent_exemption(program.SOL_VAULT_BYTES)
    gift = TransferParams(
        from_pubkey=bank.thief.pubkey(), to_pubkey=bank.vault(terms), lamports=2 * SOL + rent
    )
    bank.refused_with(
        ProgramError.NOT_OUR_VAULT, [*bank.claim(terms), transfer(gift), *bank.claim(terms)], bank.thief
    )
    bank.do([*bank.claim(terms), transfer(gift)], bank.thief)
    bank.refused_with(ProgramError.NOT_OUR_VAULT, bank.claim(terms), bank.thief)
    bank.set_time(terms.deadline)
    bank.refused_with(ProgramError.NOT_OUR_VAULT, bank.refund(terms), bank.thief)
    bank.set_time(NOW)
    bank.lock(terms)  # and its address is free again
    bank.do(bank.claim(terms), bank.thief)


def an_account_somebody_else_made_is_no_vault(bank: Bank) -> None:
    terms = bank.terms(bytes(0))
    for size in (0, 64, program.SOL_VAULT_BYTES, program.TOKEN_VAULT_BYTES):
        fake = Keypair()
        made = CreateAccountParams(
            from_pubkey=bank.thief.pubkey(),
            to_pubkey=fake.pubkey(),
            lamports=SOL // 10,
            space=size,
            owner=bank.program,
        )
        bank.do([create_account(made)], bank.thief, fake)
        for spend in (bank.claim(terms, b"")[-1], bank.refund(terms)[-1]):
            aimed = with_account(spend, 0, fake.pubkey())
            bank.refused_with(ProgramError.NOT_OUR_VAULT, [aimed], bank.thief)


def a_vault_of_another_program_is_refused(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    real = bank.svm.get_account(bank.vault(terms))
    assert real is not None
    fake = Pubkey.new_unique()
    copied = Account(real.lamports, bytes(real.data), Pubkey.new_unique(), executable=False)
    bank.svm.set_account(fake, copied)
    (claim,) = bank.claim(terms)
    bank.refused_with(ProgramError.NOT_OUR_VAULT, [with_account(claim, 0, fake)], bank.thief)


def amounts_at_the_edges_are_refused(bank: Bank) -> None:
    bank.refused_with(ProgramError.BAD_AMOUNT, program.lock(bank.program, bank.terms(amount=0)), bank.sender)
    rent = bank.svm.minimum_balance_for_rent_exemption(program.SOL_VAULT_BYTES)
    for short in (1, rent, 10 * SOL):
        # Rent and amount together overflow; what was sent ahead would make up for the missing rent.
        terms = bank.terms(amount=2**64 - short)
        gift = TransferParams(from_pubkey=bank.thief.pubkey(), to_pubkey=bank.vault(terms), lamports=2 * rent)
        bank.do([transfer(gift)], bank.thief)
        said = bank.refused(program.lock(bank.program, terms), bank.sender)
        overflows = short <= rent
        assert f"Custom({ProgramError.BAD_AMOUNT.value if overflows else 1})" in said, said


def a_lock_has_its_deadline_ahead(bank: Bank) -> None:
    for deadline in (NOW, NOW - 1, 0, -1, -(2**63)):
        lock = program.lock(bank.program, bank.terms(deadline=deadline))
        bank.refused_with(ProgramError.DEADLINE_PAST, lock, bank.sender)
    bank.lock(bank.terms(deadline=NOW + 1))
    bank.lock(bank.terms(deadline=2**63 - 1))


def a_vault_is_not_its_own_recipient(bank: Bank) -> None:
    vault = bank.vault(bank.terms())
    lock = lock_one(bank, bank.terms())
    aimed = with_data(lock, lock.data[:8] + bytes(vault) + lock.data[40:])
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [aimed], bank.sender)


def sender_and_recipient_may_be_one(bank: Bank) -> None:
    terms = bank.terms(recipient=bank.sender.pubkey())
    before = bank.lamports(bank.sender)
    bank.lock(terms)
    bank.do(bank.claim(terms), bank.thief)
    assert bank.lamports(bank.sender) == before - 5000


def the_vault_named_twice_pays_nobody_twice(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    (claim,) = bank.claim(terms)
    for at in (1, 2):
        aimed = with_account(claim, at, bank.vault(terms))
        bank.refused_with(ProgramError.WRONG_ACCOUNT, [aimed], bank.thief)


def a_sender_turned_executable_cannot_block_the_claim(bank: Bank) -> None:
    terms = bank.terms()
    bank.lock(terms)
    bank.svm.add_program(bank.sender.pubkey(), program.program_bytes())
    turned = bank.svm.get_account(bank.sender.pubkey())
    assert turned is not None
    assert turned.executable
    bank.do(bank.claim(terms), bank.thief)
    assert bank.lamports(bank.recipient) == 11 * SOL


def malformed_calls_are_refused(bank: Bank) -> None:
    terms = bank.terms()
    lock = lock_one(bank, terms)
    for data in (lock.data[:-1], lock.data + b"\0", lock.data[:8], lock.data[:40]):
        bank.refused_with(ProgramError.BAD_DATA, [with_data(lock, data)], bank.sender)
    wide = with_data(lock, lock.data[:88] + struct.pack("<Q", 256 + lock.data[88]) + lock.data[96:])
    bank.refused_with(ProgramError.BAD_DATA, [wide], bank.sender)
    for data in (b"", b"\0", b"\1" * 7, struct.pack("<Q", 4), b"\xff" * 8):
        bank.refused_with(ProgramError.BAD_DATA, [with_data(lock, data)], bank.sender)
    metas = list(lock.accounts)
    for wrong in (metas[:-1], [*metas, metas[0]]):
        bank.refused_with(ProgramError.BAD_ACCOUNT_COUNT, [with_accounts(lock, wrong)], bank.sender)
    other = with_account(lock, 2, bank.thief.pubkey())
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [other], bank.sender)
    bank.do([lock], bank.sender)
    for spend in (bank.claim(terms)[-1], bank.refund(terms)[-1]):
        metas = list(spend.accounts)
        for wrong in ([], metas[:1], metas[:2], [*metas, metas[0], metas[0], metas[0]]):
            bank.refused_with(ProgramError.BAD_ACCOUNT_COUNT, [with_accounts(spend, wrong)], bank.thief)
    refund = bank.refund(terms)[-1]
    bank.set_time(terms.deadline)
    bank.refused_with(ProgramError.BAD_DATA, [with_data(refund, refund.data + b"\0")], bank.thief)
    claim = bank.claim(terms)[-1]
    more = with_accounts(claim, [*claim.accounts, claim.accounts[0]])
    bank.refused_with(ProgramError.BAD_ACCOUNT_COUNT, [more], bank.thief)


# ------------------------------------------------------------------ tokens


def tokens_are_claimed_and_everything_is_closed(bank: Bank) -> None:
    bank.with_token()
    terms = bank.terms()
    bank.lock(terms)
    assert bank.mint is not None
    held = program.token_account(bank.vault(terms), bank.mint)
    assert bank.tokens(held) == terms.amount
    before = bank.lamports(bank.sender)
    bank.do(bank.claim(terms), bank.thief)
    assert (bank.tokens(bank.recipient), bank.tokens(bank.sender)) == (10**8, 9 * 10**8)
    assert bank.is_gone(terms)
    assert bank.svm.get_account(held) is None
    rent = bank.svm.minimum_balance_for_rent_exemption
    assert bank.lamports(bank.sender) == before + rent(program.TOKEN_VAULT_BYTES) + rent(165)


def tokens_are_refunded_from_the_deadline_or_with_the_recipient(bank: Bank) -> None:
    bank.with_token()
    late, early = bank.terms(), bank.terms(b"other")
    bank.lock(late)
    bank.lock(early)
    bank.refused_with(ProgramError.DEADLINE_NOT_REACHED, bank.refund(late), bank.thief)
    bank.do(bank.refund(early, cooperative=True), bank.thief, bank.recipient)
    bank.set_time(late.deadline)
    bank.do(bank.refund(late), bank.thief)
    assert bank.tokens(bank.sender) == 10**9


def a_thief_gets_no_tokens(bank: Bank) -> None:
    bank.with_token()
    assert bank.mint is not None
    terms = bank.terms()
    bank.lock(terms)
    claim = bank.claim(terms)[-1]
    his = program.token_account(bank.thief.pubkey(), bank.mint)
    bank.refused_with(ProgramError.BAD_TOKEN_ACCOUNT, [with_account(claim, 1, his)], bank.thief)
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [with_account(claim, 2, bank.thief.pubkey())], bank.thief)
    bank.set_time(terms.deadline)
    refund = bank.refund(terms)[-1]
    bank.refused_with(ProgramError.BAD_TOKEN_ACCOUNT, [with_account(refund, 1, his)], bank.thief)


def a_vaults_tokens_and_program_cannot_be_exchanged(bank: Bank) -> None:
    bank.with_token()
    assert bank.mint is not None
    terms, other = bank.terms(), bank.terms(amount=1)
    bank.lock(terms)
    bank.lock(other)
    claim = bank.claim(terms)[-1]
    theirs = program.token_account(bank.vault(other), bank.mint)
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [with_account(claim, 3, theirs)], bank.thief)
    fake = with_account(claim, 4, TOKEN_2022_PROGRAM_ID)
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [fake], bank.thief)
    lock = lock_one(bank, bank.terms(b"third"))
    bank.refused_with(ProgramError.WRONG_ACCOUNT, [with_account(lock, 5, TOKEN_2022_PROGRAM_ID)], bank.sender)


def tokens_of_strangers_do_not_block_a_claim(bank: Bank) -> None:
    bank.with_token()
    assert bank.mint is not None
    terms = bank.terms()
    bank.lock(terms)
    bank.mint_tokens(program.token_account(bank.vault(terms), bank.mint), 5)
    bank.do(bank.claim(terms), bank.thief)
    assert bank.tokens(bank.recipient) == terms.amount + 5


def _crafted(bank: Bank, key: Pubkey, **changes: object) -> None:
    """Overwrite parts of a token account, as no transaction could."""
    found = bank.svm.get_account(key)
    assert found is not None
    data = bytearray(found.data)
    for at, value in changes.get("data", {}).items():  # type: ignore[attr-defined]
        data[at : at + len(value)] = value
    data += bytes(int(changes.get("more", 0)))  # type: ignore[call-overload]
    owner = changes.get("owner", found.owner)
    assert isinstance(owner, Pubkey)
    lamports = 10 * found.lamports
    bank.svm.set_account(key, Account(lamports, bytes(data), owner, executable=False))


def odd_vault_token_accounts_are_refused(bank: Bank) -> None:
    bank.with_token()
    assert bank.mint is not None
    stranger = bytes(bank.thief.pubkey())
    cases: list[dict[str, object]] = [
        {"data": {129: b"\1\0\0\0" + stranger}},  # a foreign close authority would block every spend
        {"data": {72: b"\1\0\0\0" + stranger}},  # a delegate could take the tokens
        {"data": {0: stranger}},  # of another mint
        {"data": {32: stranger}},  # of another owner
        {"owner": TOKEN_2022_PROGRAM_ID},
        {"more": 1},
    ]
    for number, case in enumerate(cases):
        terms = bank.terms(bytes([number]))
        lock = lock_one(bank, terms)
        _crafted(bank, program.token_account(bank.vault(terms), bank.mint), **case)
        bank.refused_with(ProgramError.BAD_TOKEN_ACCOUNT, [lock], bank.sender)


def a_real_foreign_close_authority_is_refused(bank: Bank) -> None:
    """Make the account as an attacker can: his own, its close authority kept, then given to the vault."""
    bank.with_token()
    assert bank.mint is not None
    terms = bank.terms()
    lock, account = program.lock(bank.program, terms)[-1], Keypair()
    made = CreateAccountParams(
        from_pubkey=bank.sender.pubkey(),
        to_pubkey=account.pubkey(),
        lamports=bank.svm.minimum_balance_for_rent_exemption(165),
        space=165,
        owner=TOKEN_PROGRAM_ID,
    )
    writable = AccountMeta(account.pubkey(), is_signer=False, is_writable=True)
    mint = AccountMeta(bank.mint, is_signer=False, is_writable=False)
    owner = AccountMeta(bank.sender.pubkey(), is_signer=True, is_writable=False)
    initialise = Instruction(TOKEN_PROGRAM_ID, b"\x12" + bytes(bank.sender.pubkey()), [writable, mint])
    keep = Instruction(TOKEN_PROGRAM_ID, b"\x06\x03\x01" + bytes(bank.thief.pubkey()), [writable, owner])
    give = Instruction(TOKEN_PROGRAM_ID, b"\x06\x02\x01" + bytes(bank.vault(terms)), [writable, owner])
    bank.do([create_account(made), initialise, keep, give], bank.sender, account)
    bank.refused_with(ProgramError.BAD_TOKEN_ACCOUNT, [with_account(lock, 4, account.pubkey())], bank.sender)


def a_token_of_another_mint_is_refused(bank: Bank) -> None:
    bank.with_token()
    terms = bank.terms()
    first = bank.mint
    assert first is not None
    bank.lock(terms)
    claim = bank.claim(terms)[-1]
    bank.with_token()
    assert bank.mint is not None
    other = program.token_account(bank.recipient.pubkey(), bank.mint)
    bank.refused_with(ProgramError.BAD_TOKEN_ACCOUNT, [with_account(claim, 1, other)], bank.thief)
    # A lock whose data name a valuable mint while its accounts move a worthless one:
    dear = bank.terms(b"another", mint=first)
    lock = program.lock(bank.program, dear)[-1]
    vault = bank.vault(dear)
    assert bank.mint is not None
    bank.do([program.make_token_account(bank.sender.pubkey(), vault, bank.mint)], bank.sender)
    cheap = with_account(lock, 3, program.token_account(bank.sender.pubkey(), bank.mint))
    cheap = with_account(cheap, 4, program.token_account(vault, bank.mint))
    said = bank.refused([cheap], bank.sender)
    assert f"Custom({ProgramError.BAD_TOKEN_ACCOUNT.value})" in said


def the_vaults_own_tokens_are_no_deposit(bank: Bank) -> None:
    """The sender as delegate of the vault's account would lock what lies there: a transfer to itself."""
    bank.with_token()
    assert bank.mint is not None
    terms = bank.terms()
    lock = lock_one(bank, terms)
    held = program.token_account(bank.vault(terms), bank.mint)
    bank.mint_tokens(held, terms.amount)
    said = bank.refused([with_account(lock, 3, held)], bank.sender)
    assert "Custom(4)" in said  # the Token program's OwnerMismatch


def the_same_token_terms_stand_once(bank: Bank) -> None:
    bank.with_token()
    terms = bank.terms()
    bank.lock(terms)
    bank.refused_with(ProgramError.VAULT_IN_USE, program.lock(bank.program, terms), bank.sender)
    bank.do(bank.claim(terms), bank.thief)
    bank.refused(bank.claim(terms)[-1:], bank.thief)


def no_more_tokens_are_locked_than_the_sender_has(bank: Bank) -> None:
    bank.with_token()
    for amount in (10**9 + 1, 2**63, 2**64 - 1):
        bank.refused(program.lock(bank.program, bank.terms(amount=amount)), bank.sender)
    bank.lock(bank.terms(amount=10**9))


ATTACKS: tuple[Attack, ...] = (
    a_claim_pays_the_recipient_and_the_rent_comes_back,
    preimages_have_0_to_64_bytes,
    a_wrong_preimage_opens_nothing,
    a_thief_redirects_neither_amount_nor_rent,
    a_refund_waits_for_the_very_second_of_the_deadline,
    a_claim_is_good_after_the_deadline,
    a_lock_is_spent_once,
    the_recipient_alone_gives_back_early,
    a_lock_needs_its_senders_signature,
    a_vault_stands_at_the_address_of_all_its_terms_only,
    the_same_terms_stand_once_at_a_time,
    lamports_sent_ahead_do_not_block_a_lock,
    a_vault_revived_in_the_same_transaction_is_nothing,
    an_account_somebody_else_made_is_no_vault,
    a_vault_of_another_program_is_refused,
    amounts_at_the_edges_are_refused,
    a_lock_has_its_deadline_ahead,
    a_vault_is_not_its_own_recipient,
    sender_and_recipient_may_be_one,
    the_vault_named_twice_pays_nobody_twice,
    a_sender_turned_executable_cannot_block_the_claim,
    malformed_calls_are_refused,
    tokens_are_claimed_and_everything_is_closed,
    tokens_are_refunded_from_the_deadline_or_with_the_recipient,
    a_thief_gets_no_tokens,
    a_vaults_tokens_and_program_cannot_be_exchanged,
    tokens_of_strangers_do_not_block_a_claim,
    odd_vault_token_accounts_are_refused,
    a_real_foreign_close_authority_is_refused,
    a_token_of_another_mint_is_refused,
    the_vaults_own_tokens_are_no_deposit,
    the_same_token_terms_stand_once,
    no_more_tokens_are_locked_than_the_sender_has,
)
