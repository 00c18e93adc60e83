"""The local Solana: the real virtual machine behind JSON-RPC, as a child process."""
