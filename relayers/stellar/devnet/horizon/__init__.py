"""A Horizon-compatible HTTP and server-sent-events interface over the emulated network."""
