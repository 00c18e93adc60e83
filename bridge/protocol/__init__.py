"""The swap protocol, pure: types, transition, timelocks, hashlocks and pricing."""
