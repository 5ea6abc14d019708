"""Rules and forwards: their text, what it means, and what is refused."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.errors import InputError
from wgbind.settings.forward import Forward
from wgbind.settings.reference import Reference, Vocabulary
from wgbind.settings.rule import Rule
from wgbind.settings.service import ANY_SERVICE, PROTOCOLS, WELL_KNOWN, Service, parse_services

VOCABULARY = Vocabulary(
    groups=("staff", "guests"),
    networks=("lan", "dc-2"),
    services={"web": (Service("tcp", 80, 80), Service("tcp", 443, 443)), "ssh": (Service("udp"),)},
)

PREFIXES = ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "::", "fd00::/8", "2001:db8::1:0", "fe::"]


def references() -> st.SearchStrategy[Reference]:
    words = ["any", "host", "internet", "peers", "staff", "guests", "lan", "dc-2"]
    texts = st.sampled_from([*words, "peer:alice", "peer:a@b.c+d-1_e", *PREFIXES])
    return texts.map(lambda text: Reference.parse(text, VOCABULARY))


def services() -> st.SearchStrategy[Service]:
    ports = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted)
    ranged = st.tuples(st.sampled_from(["tcp", "udp"]), ports).map(
        lambda each: Service(each[0], *each[1])  # type: ignore[arg-type]
    )
    return ranged | st.sampled_from(list(map(Service, ("any", "tcp", "udp", "icmp", "ping"))))  # type: ignore[arg-type]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    ends = st.lists(references(), min_size=1, max_size=3, unique=True).map(tuple)
    peers = Reference("peers")
    sources, destinations = draw(ends), draw(ends)
    if peers not in destinations:
        sources = tuple(dict.fromkeys((*sources, Reference("any"))))
        destinations = tuple(dict.fromkeys((*destinations, peers)))
    return Rule(
        draw(st.sampled_from(["allow", "deny"])),
        sources,
        destinations,
        draw(st.lists(services(), min_size=1, max_size=3, unique=True).map(tuple)),
        draw(st.booleans()),
    )


@given(rules(), st.none() | st.just("a name"))
def test_text_of_a_rule_is_the_rule(rule: Rule, name: str | None) -> None:
    assert Rule.parse(str(rule), VOCABULARY) == rule
    named = replace(rule, name=name)
    assert named.checked(VOCABULARY) == named
    setting = named.as_setting()
    if isinstance(setting, dict):
        assert Rule.of_table(setting, VOCABULARY) == named
    else:
        assert name is None


ALLOW_SSH = Rule(
    "allow",
    (Reference("group", "staff"),),
    (Reference("network", "lan"),),
    (Service("tcp", 22, 22),),
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("allow staff -> lan : tcp/22", ALLOW_SSH),
        ("  allow   staff→lan: tcp/22  ", ALLOW_SSH),
        ("allow group:staff -> net:lan : tcp/22, tcp/22", ALLOW_SSH),
        ("allow staff,staff -> lan : tcp/22-22 log", replace(ALLOW_SSH, log=True)),
        ("deny staff -> lan", replace(ALLOW_SSH, action="deny", services=(ANY_SERVICE,))),
        ("allow staff -> lan : web", replace(ALLOW_SSH, services=VOCABULARY.services["web"])),
        ("allow staff -> lan : ssh", replace(ALLOW_SSH, services=(Service("udp"),))),
        ("allow staff -> lan : dns", replace(ALLOW_SSH, services=WELL_KNOWN["dns"])),
        (
            "allow peers -> fd00:: : ping log",
            Rule(
                "allow",
                (Reference("peers"),),
                (Reference("prefix", prefix=ip_network("fd00::/128")),),
                (Service("ping"),),
                log=True,
            ),
        ),
        (
            "allow peers -> 2001:db8::/32",
            Rule(
                "allow",
                (Reference("peers"),),
                (Reference("prefix", prefix=ip_network("2001:db8::/32")),),
            ),
        ),
    ],
)
def test_rule_is_read(text: str, rule: Rule) -> None:
    assert Rule.parse(text, VOCABULARY) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a rule"),
        ("allow staff", "is not a rule"),
        ("allow staff -> lan -> host", "is not a rule"),
        ("permit staff -> lan", "begins with allow or deny, not with 'permit'"),
        ("allow staff, -> lan", "a name is missing"),
        ("allow staff -> ", "a name is missing"),
        ("allow -> lan", "a name is missing"),
        ("allow staff -> lan :", "is not a service"),
        ("allow staff -> lan : ssh : http", "two colons"),
        ("allow stafff -> lan", "no group or network 'stafff'; did you mean staff?"),
        ("allow zzzz -> lan", "there are staff, guests, lan, dc-2; name it in policy.groups"),
        ("allow group:lan -> host", "there is no group 'lan'"),
        ("allow net:staff -> peers", "there is no network 'staff'"),
        ("allow peer:a/b -> host", "'a/b' is not the name of a peer"),
        ("allow peers -> 10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("allow peers -> 10.0.0.256", "is not an IP address"),
        ("allow staff -> lan : tcp/70000", "there is no port 70000; use 1 to 65535"),
        ("allow staff -> lan : tcp/0", "there is no port 0"),
        ("allow staff -> lan : tcp/9-1", "the wrong way round; write tcp/1-9"),
        ("allow staff -> lan : icmp/8", "only tcp and udp have ports"),
        ("allow staff -> lan : htps", "there is no service 'htps'; did you mean https?"),
        ("allow staff -> lan : -1", "is not a service"),
        ("allow internet -> host", "can never match"),
        ("allow host -> host", "can never match"),
        ("allow lan -> internet, lan", "can never match"),
        ("allow host -> lan", "can never match"),
        ("allow 10.0.0.1 -> fd00::1, fe::/16", "can never match: one end is IPv4"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        Rule.parse(text, VOCABULARY)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"action": "allow", "to": ["host"]}, "the rule lacks 'from'"),
        ({"action": "allow", "from": ["peers"], "to": ["host"], "via": 1}, "no key 'via'"),
        ({"action": "allow", "from": "peers", "to": ["host"]}, "from: 'peers' is not a list"),
        ({"action": "allow", "from": [], "to": ["host"]}, "from: [] is not a list"),
        ({"action": "allow", "from": [1], "to": ["host"]}, "from: 1 is not text"),
        ({"action": 7, "from": ["peers"], "to": ["host"]}, "not with 7"),
        ({"action": "deny", "from": ["peers"], "to": ["host"], "log": 1}, "log: 1 is not"),
        ({"action": "deny", "from": ["peers"], "to": ["host"], "name": "a\nb"}, "name: 'a\\nb'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(table: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        Rule.of_table(table, VOCABULARY)
    assert words in str(error.value)


FORWARD = Forward(Service("tcp", 8080, 8080), Reference("peer", "web"), 80)


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("tcp/8080 -> peer:web : 80", FORWARD),
        ("tcp/8080→peer:web: 80 masquerade", replace(FORWARD, masquerade=True)),
        (
            "udp/1-9 -> fd00::7",
            Forward(Service("udp", 1, 9), Reference("prefix", prefix=ip_network("fd00::7"))),
        ),
    ],
)
def test_forward_is_read_and_written(text: str, forward: Forward) -> None:
    assert Forward.parse(text, VOCABULARY) == forward
    assert Forward.parse(str(forward), VOCABULARY) == forward
    assert forward.checked(VOCABULARY) == forward


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tcp/80", "is not a forward"),
        ("tcp -> peer:web", "forward one port or range"),
        ("web -> peer:web", "forward one port or range"),
        ("ping -> peer:web", "forward one port or range"),
        ("tcp/80 -> staff", "leads to one peer:NAME or one address"),
        ("tcp/80 -> 10.0.0.0/24", "leads to one peer:NAME or one address"),
        ("tcp/80 -> peer:web : 0", "'0' is not a port"),
        ("tcp/80 -> peer:web : http", "'http' is not a port"),
        ("tcp/80 -> peer:web : 1 : 2", "two colons"),
        ("tcp/80-81 -> peer:web : 80", "a range keeps its ports"),
    ],
)
def test_what_is_wrong_with_a_forward_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        Forward.parse(text, VOCABULARY)
    assert words in str(error.value)


def test_forwards_clash_where_they_share_a_port() -> None:
    one = Forward.parse("tcp/80-90 -> peer:a", VOCABULARY)
    for text, clashes in (("tcp/90 -> peer:b", True), ("tcp/91 -> peer:b", False)):
        assert one.clashes(Forward.parse(text, VOCABULARY)) is clashes
    assert not one.clashes(Forward.parse("udp/80 -> peer:b", VOCABULARY))


@given(services(), services())
def test_cover_is_what_every_port_says(one: Service, other: Service) -> None:
    def holds(service: Service, protocol: str, port: int) -> bool:
        if service.protocol in {"any", protocol}:
            return service.protocol == "any" or service.first <= port <= service.last
        return (service.protocol, protocol) == ("icmp", "ping")

    edges = [0, one.first, one.last, other.first, other.last, 65535]
    ports = sorted({port + step for port in edges for step in (-1, 0, 1)} & set(range(65536)))
    probes = [("esp", 0), ("icmp", 0), ("ping", 0)]
    probes += [(protocol, port) for protocol in ("tcp", "udp") for port in ports]
    slow = all(holds(one, *probe) for probe in probes if holds(other, *probe))
    assert one.covers(other) == slow


def test_every_well_known_name_is_a_service() -> None:
    for name, found in WELL_KNOWN.items():
        assert parse_services(name, {}) == found
        assert all(service.protocol in {"tcp", "udp"} for service in found)
        assert name not in PROTOCOLS


WORDS = ["allow", "deny", "staff", "any", "->", "→", ":", ",", "log", "tcp/22", "peer:", "::", "\t"]


@pytest.mark.parametrize("kind", [Rule, Forward])
@given(text=st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map(" ".join))
def test_any_text_is_one_or_told_in_a_line(kind: type[Rule | Forward], text: str) -> None:
    try:
        found = kind.parse(text, VOCABULARY)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert kind.parse(str(found), VOCABULARY) == found
