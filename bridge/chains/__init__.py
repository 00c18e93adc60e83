"""What a chain is to the bridge: the port, families and their traits, configuration sections, errors."""
