"""What is remembered: tables, repositories and migrations (SQLite by default, PostgreSQL at scale)."""
