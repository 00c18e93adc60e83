"""Put the HTLC's validator on a Cardano network for reference: claims and refunds then cost less.

    BLOCKFROST_PROJECT_ID=… python scripts/deploy_cardano.py --network preprod \\
        --url https://… --key-file key.hex

or `--ogmios-url ws://… --kupo-url http://…` for your own node. The key file holds the paying account's
32-byte ed25519 seed in hex. Without `--send` only the cost is shown. With it, the last line printed is the
`reference_script` of the configuration. The output is at the validator's own address without a datum, so
nobody can ever spend it: the ada in it is gone.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pycardano import Address, PaymentSigningKey

from relayers.cardano import building
from relayers.cardano.adapter import sign
from relayers.cardano.chain_view import ChainView
from relayers.cardano.htlc import canonical
from relayers.cardano.payer_outputs import PayerOutputs
from relayers.cardano.services import Service, open_services
from relayers.cardano.settings import CardanoSettings, Network

TIME_TO_LIVE = 1_200


async def _view_of(service: Service) -> ChainView:
    return service.view


async def deploy(settings: CardanoSettings, key: bytes, *, send: bool) -> str:
    """Build, and perhaps send, the reference output; return its name, "<tx id>#0"."""
    signing = PaymentSigningKey(key)
    network = settings.address_network
    account = canonical(signing.to_verification_key().hash().payload, network)
    services = open_services(settings)
    try:
        view = await services.ask(_view_of)
        head = await view.head()
        parameters = await view.parameters()
        spendable = await PayerOutputs(account).spendable(view, head.time)
        slot = settings.slot_at(head.time)
        context = building.BuildContext(
            parameters, slot, network, Address.from_primitive(account), spendable.confirmed
        )
        draft = building.reference(context, slot + TIME_TO_LIVE)
        tx = sign(draft.tx, signing)
        print(f"from {account}: {draft.max_cost} lovelace stay in the output, the fee is {draft.fee}")
        if send:
            await view.submit(tx.to_cbor())
        return f"{tx.id.payload.hex()}#0"
    finally:
        await services.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", type=Network, required=True, choices=list(Network))
    parser.add_argument("--url", default="", help="Blockfrost's URL, up to /api/v0")
    parser.add_argument("--ogmios-url", default="", help="instead of Blockfrost: ws://…")
    parser.add_argument("--kupo-url", default="", help="beside Ogmios: http://…; it must follow the account")
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--send", action="store_true", help="send it; without, only show what it costs")
    args = parser.parse_args()
    project_id = os.environ.get("BLOCKFROST_PROJECT_ID", "")
    settings = CardanoSettings(
        args.url,
        args.network,
        project_id=project_id,
        ogmios_url=args.ogmios_url,
        kupo_url=args.kupo_url,
    )
    key = bytes.fromhex(args.key_file.read_text().strip())
    print(asyncio.run(deploy(settings, key, send=args.send)))


if __name__ == "__main__":
    main()
