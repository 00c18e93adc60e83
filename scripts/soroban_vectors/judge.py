"""The real host as a child process (contracts/stellar/judge), and the recording of what it says."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stellar_sdk import xdr

JUDGE = Path(__file__).resolve().parents[2] / "contracts" / "stellar" / "judge"


@dataclass(frozen=True)
class Verdict:
    """What the host said of one call. `error` is empty where it succeeded."""

    error: str = ""
    said: str = ""
    value: xdr.SCVal | None = None
    instructions: int = 0
    memory: int = 0
    events: list[str] = field(default_factory=list)
    auth: list[xdr.SorobanAuthorizationEntry] = field(default_factory=list)
    resources: str = ""
    archived: list[int] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as a recording keeps it."""
        if self.error:
            return {"error": self.error}
        assert self.value is not None
        return {
            "value": self.value.to_xdr(),
            "instructions": self.instructions,
            "memory": self.memory,
            "events": self.events,
            "auth": [each.to_xdr() for each in self.auth],
            "resources": self.resources,
            "archived": self.archived,
            "changes": self.changes,
        }


class Judge:
    """Talks to the host and writes every step into a recording."""

    def __init__(self, program: Path, recording: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._recording = recording.open("w")
        self.steps = 0

    def close(self) -> None:
        """End the host and the recording."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._recording.close()

    def _ask(self, *fields: object) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(map(str, fields)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().rstrip("\n")
        if not answer:
            raise SystemExit(f"the judge died of {fields[0]}")
        return answer.split("\t")

    def _note(self, step: dict[str, Any]) -> None:
        self._recording.write(json.dumps(step, separators=(",", ":")) + "\n")
        self.steps += 1

    def network(self, network_id: bytes, min_temporary: int, min_persistent: int, longest: int) -> None:
        """Say which network it is."""
        self._ask("network", network_id.hex(), min_temporary, min_persistent, longest)
        settings = {"min_temporary": min_temporary, "min_persistent": min_persistent, "max": longest}
        self._note({"op": "network", "id": network_id.hex()} | settings)

    def put(self, entry: xdr.LedgerEntry, live: int | None = None) -> None:
        """Write an entry."""
        self._ask("put", entry.to_xdr(), "-" if live is None else live)
        self._note({"op": "put", "entry": entry.to_xdr(), "live": live})

    def delete(self, key: xdr.LedgerKey) -> None:
        """Remove an entry."""
        self._ask("del", key.to_xdr())
        self._note({"op": "del", "key": key.to_xdr()})

    def get(self, key: xdr.LedgerKey) -> tuple[xdr.LedgerEntry, int] | None:
        """Read an entry and the last ledger of its life (0: it has none)."""
        answer = self._ask("get", key.to_xdr())
        if answer[0] == "none":
            return None
        return xdr.LedgerEntry.from_xdr(answer[0]), int(answer[1].replace("-", "0"))

    def record(
        self,
        function: xdr.HostFunction,
        source: xdr.AccountID,
        auth: list[xdr.SorobanAuthorizationEntry] | None,
        sequence: int,
        time: int,
        note: str,
        *,
        keep: bool = True,
    ) -> Verdict:
        """Simulate."""
        given = "record" if auth is None else ",".join(each.to_xdr() for each in auth)
        verdict = _verdict(self._ask("record", function.to_xdr(), source.to_xdr(), given, sequence, time))
        if keep:
            self._note(_step("record", function, source, auth, sequence, time, note, verdict))
        return verdict

    def enforce(
        self,
        function: xdr.HostFunction,
        source: xdr.AccountID,
        auth: list[xdr.SorobanAuthorizationEntry],
        sequence: int,
        time: int,
        note: str,
        resources: xdr.SorobanResources,
        archived: list[int],
    ) -> Verdict:
        """Run as a ledger does."""
        given = ",".join(each.to_xdr() for each in auth)
        indices = ",".join(map(str, archived))
        fields = (function.to_xdr(), source.to_xdr(), given, sequence, time, resources.to_xdr(), indices)
        verdict = _verdict(self._ask("enforce", *fields))
        step = _step("enforce", function, source, auth, sequence, time, note, verdict)
        self._note(step | {"resources": resources.to_xdr(), "archived": archived})
        return verdict


def _step(
    op: str,
    function: xdr.HostFunction,
    source: xdr.AccountID,
    auth: list[xdr.SorobanAuthorizationEntry] | None,
    sequence: int,
    time: int,
    note: str,
    verdict: Verdict,
) -> dict[str, Any]:
    return {
        "op": op,
        "note": note,
        "function": function.to_xdr(),
        "source": source.to_xdr(),
        "auth": None if auth is None else [each.to_xdr() for each in auth],
        "sequence": sequence,
        "time": time,
        "said": verdict.to_json(),
    }


def _parts(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


def _verdict(answer: list[str]) -> Verdict:
    if answer[0] == "err":
        return Verdict(error=answer[1], said=answer[2] if len(answer) > 2 else "")
    return Verdict(
        value=xdr.SCVal.from_xdr(answer[1]),
        instructions=int(answer[2]),
        memory=int(answer[3]),
        events=_parts(answer[4]),
        auth=[xdr.SorobanAuthorizationEntry.from_xdr(each) for each in _parts(answer[5])],
        resources=answer[6],
        archived=[int(each) for each in _parts(answer[7])],
        changes=[_change(each) for each in _parts(answer[8])],
    )


def _change(text: str) -> dict[str, Any]:
    read_only, key, new, *numbers = text.split(":")
    old_live, new_live, old_size, new_size = map(int, numbers)
    return {
        "read_only": read_only == "1",
        "key": key,
        "new": None if new == "-" else new,
        "live": [old_live, new_live],
        "rent_size": [old_size, new_size],
    }
