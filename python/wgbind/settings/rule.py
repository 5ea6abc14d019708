"""A rule of the policy: read from text or a table, written as text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.errors import InputError
from wgbind.settings.reference import ZONES, Reference
from wgbind.settings.service import ANY_SERVICE, Service, parse_services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wgbind.settings.reference import Vocabulary, Zone

Action: TypeAlias = Literal["allow", "deny"]

CONCERNED: frozenset[tuple[Zone, Zone]] = frozenset(
    {
        ("tunnel", "host"),
        ("tunnel", "tunnel"),
        ("tunnel", "outside"),
        ("outside", "tunnel"),
        ("host", "tunnel"),
    }
)
"""Between which zones rules decide: what comes from the tunnel or goes to it, and nothing else."""

ARROW = re.compile("->|→")

# An IPv6 prefix can end with "::" and never has white space.
COLON = re.compile(r"(?<!:):(?=\s|$)")
_KEYS = ("action", "from", "to", "services", "log", "name")


@dataclass(frozen=True)
class Rule:
    """Who may, or may not, begin what with whom; answers belong to what was begun.

    Raises `InputError` if it can never match: between these ends nothing goes through the tunnel,
    or one end has IPv4 alone and the other one IPv6.
    """

    action: Action
    sources: tuple[Reference, ...]
    destinations: tuple[Reference, ...]
    services: tuple[Service, ...] = (ANY_SERVICE,)
    log: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        pairs = list(product(self.sources, self.destinations))
        if not any(may_meet(one, other) for one, other in pairs):
            raise InputError(
                f"{str(self)!r} can never match: rules are about what comes from the tunnel or "
                "goes to it; name peers at one end"
            )
        if not any(_same_family(one, other) for one, other in pairs):
            raise InputError(
                f"{str(self)!r} can never match: one end is IPv4 and the other is IPv6; "
                "give both ends addresses of one kind"
            )

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary) -> Rule:
        """Parse `allow|deny FROM[, FROM] -> TO[, TO] [: SERVICE[, SERVICE]] [log]`.

        Raises `InputError`.
        """
        action, rest = (*text.split(None, 1), "", "")[:2]
        ends = ARROW.split(rest)
        if len(ends) != 2:
            raise InputError(f"{text!r} is not a rule, such as 'allow staff -> lan : ssh, ping'")
        body, log = cut_word(ends[1], "log")
        destinations, services = _cut_services(body, text)
        return cls(
            _parse_action(action),
            _references(ends[0].split(","), vocabulary),
            _references(destinations.split(","), vocabulary),
            _parse_services(services, vocabulary),
            log,
        )

    @classmethod
    def of_table(cls, table: Mapping[str, object], vocabulary: Vocabulary) -> Rule:
        """Read a rule that is a table: action, from, to, and services, log and name if it has them.

        Raises `InputError`.
        """
        for key in table:
            if key not in _KEYS:
                raise InputError(f"a rule has no key {key!r}; there are {', '.join(_KEYS)}")
        for key in ("action", "from", "to"):
            if key not in table:
                raise InputError(f'the rule lacks {key!r}; write it, as in from = ["staff"]')
        log, name = table.get("log", False), table.get("name")
        if not isinstance(log, bool):
            raise InputError(f"log: {log!r} is not true or false")
        if name is not None and not (isinstance(name, str) and name and name.isprintable()):
            raise InputError(f"name: {name!r} is not a line of text in quotes")
        return cls(
            _parse_action(table["action"]),
            _references(_texts(table, "from"), vocabulary),
            _references(_texts(table, "to"), vocabulary),
            _parse_services(_texts(table, "services") if "services" in table else None, vocabulary),
            log,
            name,
        )

    def checked(self, vocabulary: Vocabulary) -> Rule:
        """Return it if the vocabulary has the names it uses; raise `InputError`."""
        return replace(Rule.parse(str(self), vocabulary), name=self.name)

    def as_setting(self) -> str | dict[str, object]:
        """Return the form for the settings file: text, or a table if it has a name."""
        if self.name is None:
            return str(self)
        return {
            "action": self.action,
            "from": list(map(str, self.sources)),
            "to": list(map(str, self.destinations)),
            "services": list(map(str, self.services)),
            "log": self.log,
            "name": self.name,
        }

    def __str__(self) -> str:
        """The text form, without the name; names of services are resolved to services."""
        ends = f"{', '.join(map(str, self.sources))} -> {', '.join(map(str, self.destinations))}"
        services = ""
        if self.services != (ANY_SERVICE,):
            services = f" : {', '.join(map(str, self.services))}"
        return f"{self.action} {ends}{services}{' log' if self.log else ''}"


def may_meet(source: Reference, destination: Reference) -> bool:
    """Whether rules decide about anything between these two."""
    zones = product(ZONES[source.kind], ZONES[destination.kind])
    return any(pair in CONCERNED for pair in zones)


def _same_family(source: Reference, destination: Reference) -> bool:
    one, other = source.prefix, destination.prefix
    return one is None or other is None or one.version == other.version


def cut_word(text: str, word: str) -> tuple[str, bool]:
    """Cut a last word off, if it stands there; say whether it did."""
    words = text.rsplit(None, 1)
    if words[1:] == [word]:
        return words[0], True
    return text, False


def _cut_services(body: str, text: str) -> tuple[str, list[str] | None]:
    destinations, *services = COLON.split(body)
    if len(services) > 1:
        raise InputError(f"{text!r} has two colons; list all services behind one, with commas")
    return destinations, services[0].split(",") if services else None


def _parse_action(value: object) -> Action:
    if value == "allow":
        return "allow"
    if value == "deny":
        return "deny"
    raise InputError(f"a rule begins with allow or deny, not with {value!r}")


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    value = table[key]
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f'{key}: {value!r} is not a list of texts, as in {key} = ["staff"]')
    for each in value:
        if not isinstance(each, str):
            raise InputError(f"{key}: {each!r} is not text in quotes")
    return list(value)


def _references(texts: Sequence[str], vocabulary: Vocabulary) -> tuple[Reference, ...]:
    found = (Reference.parse(text.strip(), vocabulary) for text in texts)
    return tuple(dict.fromkeys(found))


def _parse_services(texts: Sequence[str] | None, vocabulary: Vocabulary) -> tuple[Service, ...]:
    if texts is None:
        return (ANY_SERVICE,)
    own = vocabulary.services
    found = (service for text in texts for service in parse_services(text.strip(), own))
    return tuple(dict.fromkeys(found))
