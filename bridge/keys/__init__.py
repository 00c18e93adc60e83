"""Keys: encrypted keystores, the signature of quotes, and the published keys of local chains."""
