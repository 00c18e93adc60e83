"""Configuration: one TOML file plus environment."""
