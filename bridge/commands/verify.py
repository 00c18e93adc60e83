"""`rainbow verify`: the proof of a swap's outcome, checked offline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bridge.commands.output import Json, WrongUsageError, speaking
from bridge.config import Network


def verify(
    bundle: Annotated[Path, typer.Argument(help="The file that `rainbow swap proof` saved.")],
    network: Annotated[
        Network, typer.Option(help="Which ZION network must carry the anchor.")
    ] = Network.MAIN,
    checkpoint: Annotated[
        str, typer.Option(help="HEIGHT:BLOCK_ID of a ZION block that you know to be on the chain.")
    ] = "",
    no_checkpoint: Annotated[
        bool, typer.Option("--no-checkpoint", help="Check the work alone, on whatever chain.")
    ] = False,
    key: Annotated[str, typer.Option(help="The bridge's public key that you trust, hex.")] = "",
    as_json: Json = False,
) -> None:
    """Check a proof, and say what it proves and what not. Exit code 1 for any flaw."""
    from bridge.proofs.bundle import MAX_BUNDLE_BYTES, BundleError, Checkpoint, verify_bundle
    from bridge.wire.base import Moment

    with speaking(as_json) as output:
        known: Checkpoint | None = None
        if checkpoint:
            if re.fullmatch("[0-9]{1,10}:[0-9a-f]{64}", checkpoint) is None:
                raise WrongUsageError("the checkpoint is not HEIGHT:BLOCK_ID", "take it from your own node")
            height, _, block_id = checkpoint.partition(":")
            known = Checkpoint(int(height), block_id)
        if (known is None) is not no_checkpoint:
            raise WrongUsageError(
                "a checkpoint is needed",
                "give --checkpoint HEIGHT:BLOCK_ID from your own node, or --no-checkpoint",
            )
        try:
            with bundle.open("rb") as file:
                text = file.read(MAX_BUNDLE_BYTES + 1).decode()
        except (OSError, UnicodeDecodeError):
            raise BundleError(
                f"{bundle} cannot be read", "give the file that `rainbow swap proof` saved"
            ) from None
        proven = verify_bundle(text, network=network.value, checkpoint=known)
        if key and key != proven.key:
            raise BundleError("the bundle is of another bridge", "the key in it is not the one you trust")
        output.result(
            msgspec.to_builtins(proven),
            f"PROVEN by {proven.blocks} blocks of work (about {proven.work} hashes):",
            f"  this outcome ({proven.receipt.get('outcome', proven.receipt.get('state', '?'))}) was entry"
            f" {proven.index} of the bridge's log of {proven.size} when ZION block {proven.height} was mined,"
            f" at {Moment.at(proven.time).rfc3339}; the bridge cannot change or drop it unseen",
            *([] if known else ["NOT proven: that these blocks are on the ZION chain that you use"]),
            *([] if key else [f"NOT proven: whose log it is; its key is {proven.key}"]),
            "NOT proven: what happened on the other chains: the receipt names the transactions to look up",
            "NOT proven: that this is the newest outcome of the swap in the log",
            "NOT checked: that each header's target is what ZION's difficulty rule asks for",
        )
