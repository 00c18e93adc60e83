"""Keys of devnets are the same everywhere, and different from each other."""

from __future__ import annotations

from bridge.keys.devkeys import devnet_key


def test_a_label_always_gives_the_same_key_and_another_label_another() -> None:
    assert devnet_key("bridge").hex() == "5ddd70379c9d49f73e9432c815c84fa1355c04ae5e5068483a438097e45467e6"
    assert devnet_key("bridge") != devnet_key("user")
    assert len(devnet_key("user")) == 32
