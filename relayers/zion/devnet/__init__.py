"""The local ZION: a real node as a child process."""
