"""The parsers of what people write, on the fuzz targets' corpora and on what Hypothesis makes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import texts

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"

KEYS = st.sampled_from(
    [
        "interface",
        "interface.listen_port",
        "interface.addresses",
        "interface.mtu",
        "policy.networks.office",
        "client.allowed_ips",
        "client.endpoint",
        "client.groups.guests.dns",
        "policy.rules",
        "policy.preset",
        "policy.groups",
        "routing.egress",
        "policy.forwards",
        "unknown",
    ]
)
VALUES = st.recursive(
    st.one_of(
        st.integers().map(str),
        st.floats().map(str),
        st.text(max_size=20).map(lambda text: repr(text).replace("\\x", "\\u00")),
        st.sampled_from(["true", "false", "1979-05-27", '"10.0.0.0/8"', '"fd00::1"', "''"]),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(values, max_size=3).map(
            lambda items: (
                f"{{ {', '.join(f'k{number} = {item}' for number, item in enumerate(items))} }}"
            )
        ),
    ),
    max_leaves=8,
)
KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
LINES = st.one_of(
    st.sampled_from(["[Interface]", "[Peer]", "#! [Peer]", "### end alice ###", "# BEGIN_PEER a"]),
    st.tuples(
        st.sampled_from(["PrivateKey", "PublicKey", "PresharedKey", "Address", "AllowedIPs"]),
        st.sampled_from(["=", " = ", "", "#="]),
        st.sampled_from([KEY, KEY[:-1], "0" * 64, "10.0.0.1/24, fd00::1/64", "::/0,", "", "%"]),
    ).map("".join),
    st.tuples(
        st.sampled_from(["ListenPort", "FwMark", "MTU", "Table", "PersistentKeepalive", "PostUp"]),
        st.sampled_from([" = off", " = 0x1f", " = 9", " = -1", " = 99999999999", " = auto"]),
    ).map("".join),
)
STATEMENTS = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[{key}]]"),
    st.text(max_size=30),
)


TARGETS = {"toml": texts.toml, "wg_quick": texts.wg_quick}


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_replays(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files
    for path in files:
        TARGETS[target](path.read_bytes())


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=8).map("\n".join))
def test_toml_that_is_almost_right(text: str) -> None:
    texts.toml(text.encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(st.lists(st.one_of(LINES, st.text(max_size=30)), max_size=12).map("\n".join))
def test_a_file_of_wg_quick_that_is_almost_right(text: str) -> None:
    texts.wg_quick(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("target", TARGETS)
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_what_is_anything(target: str, data: bytes) -> None:
    TARGETS[target](data)
