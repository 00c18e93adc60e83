"""The configuration: one TOML file plus environment, checked strictly, frozen once read."""

from bridge.chains.config_fields import to_text, to_units
from bridge.chains.network import Network
from bridge.config.errors import ConfigError
from bridge.config.loading import DEFAULT_FILE, find_file, load, parse
from bridge.config.sections import ApiConfig, ApiKey, LogConfig, PairConfig
from bridge.config.settings import Settings

__all__ = [
    "DEFAULT_FILE",
    "ApiConfig",
    "ApiKey",
    "ConfigError",
    "LogConfig",
    "Network",
    "PairConfig",
    "Settings",
    "find_file",
    "load",
    "parse",
    "to_text",
    "to_units",
]
