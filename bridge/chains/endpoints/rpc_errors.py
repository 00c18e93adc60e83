"""What the errors of JSON-RPC nodes mean. Each network has its table; what none lists proves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError


class RpcError(EndpointError):
    """The endpoint answered, with a JSON-RPC error: its code, its words and its data.

    It is unavailability where nobody reads it: an endpoint's refusal proves nothing by itself.
    """

    def __init__(self, code: int, message: str, data: Any = None, kind: Answer = Answer.REFUSED) -> None:
        super().__init__(message, "use another endpoint, a complete and synchronised one", kind=kind)
        self.code = code
        self.data = data


class ErrorTable(msgspec.Struct, frozen=True):
    """What the errors of a network's nodes mean.

    `words` are looked for first, in lower case and in order: (part of the message, meaning). Then `codes`.
    `of_method` has meanings of codes that hold for one method only and comes before both. Anything else is
    `otherwise`, or the chain's refusal for the `answering` methods, whose errors are what was asked for
    (simulating, sending).
    """

    codes: Mapping[int, Answer]
    words: tuple[tuple[str, Answer], ...] = ()
    of_method: Mapping[tuple[str, int], Answer] = {}
    answering: frozenset[str] = frozenset()
    otherwise: Answer = Answer.PASSING

    def meaning(self, method: str, code: int, message: str) -> Answer:
        """Return what an error means as the answer to `method`."""
        if (method, code) in self.of_method:
            return self.of_method[method, code]
        lower = message.lower()
        for part, answer in self.words:
            if part in lower:
                return answer
        if code in self.codes:
            return self.codes[code]
        return Answer.REFUSED if method in self.answering else self.otherwise


STANDARD_CODES: Mapping[int, Answer] = {
    -32700: Answer.WRONG,
    -32600: Answer.PERMANENT,
    -32601: Answer.PERMANENT,
    -32602: Answer.REFUSED,
    -32603: Answer.PASSING,
    429: Answer.RATE_LIMITED,
}
"""JSON-RPC 2.0, section 5.1 (parse error, invalid request, method not found, invalid params, internal error);
429 is what hosted services put there from HTTP."""
