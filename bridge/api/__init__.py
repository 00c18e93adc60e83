"""REST and WebSocket API, and its typed Python client."""
