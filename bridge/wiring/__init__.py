"""The composition root: from the configuration to chains, ports and local chains."""
