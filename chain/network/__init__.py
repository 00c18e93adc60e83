"""The peer-to-peer network: frames and messages, a core without input or output, and its asyncio driver."""
