"""The guard of tests/conftest.py can fail a test."""

from __future__ import annotations

import socket

import pytest

from tests.conftest import NetworkBlockedError


def test_no_test_reaches_another_machine() -> None:
    with socket.socket() as outside, pytest.raises(NetworkBlockedError):
        outside.connect(("192.0.2.1", 80))  # TEST-NET-1 of RFC 5737: nobody is there


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as inside:
        inside.connect(server.getsockname())
