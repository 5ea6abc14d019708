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
STATEMENTS = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[{key}]]"),
    st.text(max_size=30),
)


@pytest.mark.parametrize("path", sorted((CORPUS / "toml").iterdir()), ids=lambda path: path.name)
def test_toml_of_the_corpus(path: Path) -> None:
    texts.toml(path.read_bytes())


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=8).map("\n".join))
def test_toml_that_is_almost_right(text: str) -> None:
    texts.toml(text.encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_toml_that_is_anything(data: bytes) -> None:
    texts.toml(data)
