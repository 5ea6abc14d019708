"""The `wgbind` command as a test runs it, and what came of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


Wgbind = Callable[..., Outcome]


def refused(outcome: Outcome, code: int, *words: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert re.fullmatch(r"error: .+\n", outcome.err), outcome
    assert [word for word in words if word not in outcome.err] == []
