"""Local EVM networks: anvil as a child process, and a demo token."""
