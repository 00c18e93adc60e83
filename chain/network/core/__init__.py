"""What a node does with what its peers say: events in, effects out; no socket, clock or chance of its own."""
