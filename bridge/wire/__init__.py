"""The words of the API: requests, answers and events, as they go over the wire. Shared by server and client.

Answers are msgspec structs, which the client reads without pydantic; FastAPI gets its description of them
from the same definition (`bridge.wire.base.Wire`). Requests are pydantic models, which only the server needs
(`bridge.wire.requests`): they say of every field what is wrong with it.

Amounts are integers in the asset's smallest unit as strings, with a decimal string for people; times are
RFC 3339 and Unix seconds; hashes and keys are lower-case hex.
"""
