"""The node's JSON-RPC service and its client."""
