"""The local Ethereum: anvil as a child process, and a demo token."""
