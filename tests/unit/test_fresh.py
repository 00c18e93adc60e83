"""What `make fresh` carries into a bare system, and what it says where it cannot run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts import fresh


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name != "PATH":
            monkeypatch.delenv(name)


def test_only_settings_of_package_clients_are_carried_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificates = tmp_path / "certificates.pem"
    certificates.write_text("")
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    monkeypatch.setenv("npm_config_registry", "https://packages.example/npm")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # a directory of this machine
    monkeypatch.setenv("SSL_CERT_DIR", "/no/such/place")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("RAINBOW_PASSWORD", "secret")
    assert set(fresh.settings()) == {"PIP_INDEX_URL", "npm_config_registry", "https_proxy", "SSL_CERT_FILE"}


def test_a_step_without_network_has_a_network_namespace_of_its_own(tmp_path: Path) -> None:
    online = fresh.inside(tmp_path, "make demo", online=True)
    offline = fresh.inside(tmp_path, "make demo", online=False)
    assert "--net" in offline
    assert "--net" not in online
    for command in (online, offline):
        assert "env -i HOME=/home/newcomer USER=newcomer" in command[-1]
        assert "LANG" not in command[-1]


def test_without_root_or_the_tools_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(fresh.FreshError, match="as root"):
        fresh.main([])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", "/no/such/place")
    with pytest.raises(fresh.FreshError, match="apt-get install mmdebstrap"):
        fresh.main([])
