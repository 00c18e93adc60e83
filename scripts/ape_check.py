"""Deploy, deploy again and smoke on one local anvil, all through ape: `make ape-check` (offline)."""

import socket
import sys
import tempfile
from pathlib import Path

import ape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from scripts.deploy import deploy
from scripts.smoke import smoke


def free_port() -> int:
    """Return a port that is free. ape-foundry's `host: auto` picks one at random. If that is taken, even if
    only by an outgoing connection, it waits forever for the anvil that could not listen there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    host = {"host": f"http://127.0.0.1:{free_port()}"}
    network = ape.networks.parse_network_choice("ethereum:local:foundry", provider_settings=host)
    with network, tempfile.TemporaryDirectory() as folder:
        account = ape.accounts.test_accounts[0]
        first = deploy(account, Path(folder))
        if first.transaction is None:
            raise SystemExit("a fresh chain already has the contract")
        again = deploy(account, Path(folder))
        if again != first:
            raise SystemExit(f"the second deployment found something else: {again} after {first}")
        smoke(account, Path(folder) / f"{first.network}.json")
    print("ape-check passed: deployed, found again, locked, claimed, refunded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
