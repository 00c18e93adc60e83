"""The rules of consensus, pure: no clock, no disk, no network."""
