"""Keys: encrypted keystores, and the published keys of local chains."""
