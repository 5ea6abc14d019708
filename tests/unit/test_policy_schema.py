"""The published JSON Schema of the policy: it is current, and it knows what is a policy."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from wgbind.firewall.policy import preset_rules
from wgbind.settings.policy import PRESETS, PolicySettings, Preset
from wgbind.settings.schema import policy_schema
from wgbind.settings.service import WELL_KNOWN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "policy.schema.json").read_text())
MANUAL = DOCS.joinpath("firewall.md").read_text()
EXAMPLES = MANUAL.split("```toml\n")[1:]


def test_published_schema_is_current() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(policy_schema()) == SCHEMA, "run `make schema`"


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_documentation_are_policies(text: str) -> None:
    found = tomllib.loads(text.partition("```")[0])
    Draft202012Validator(SCHEMA).validate(found["policy"])
    PolicySettings.model_validate(found["policy"])


def test_every_well_known_service_is_documented() -> None:
    for name, services in WELL_KNOWN.items():
        assert f"| `{name}` | {', '.join(map(str, services))} |\n" in MANUAL


@pytest.mark.parametrize("preset", PRESETS)
def test_rules_of_every_preset_are_documented(preset: Preset) -> None:
    (row,) = (line for line in MANUAL.splitlines() if line.startswith(f"| `{preset}` |"))
    networks = {"a": ["192.0.2.0/24"], "b": ["198.51.100.0/24"]}
    settings = PolicySettings.model_validate({"preset": preset, "networks": networks})
    rules = [str(rule).replace("a, b", "NETWORKS") for rule in preset_rules(settings)]
    assert re.findall(r"`(allow [^`]*)`", row) == rules


@pytest.mark.parametrize(
    "policy",
    [
        {"preset": "open"},
        {"preset": ["gateway", 1]},
        {"groups": ["Staff"]},
        {"networks": {"lan": "192.168.7.0/24"}},
        {"networks": {"lan": []}},
        {"networks": {"lan": {"nat": True}}},
        {"services": {"web": []}},
        {"rules": ["permit peers -> host"]},
        {"rules": ["allow peers host"]},
        {"rules": [{"action": "allow", "from": ["peers"]}]},
        {"rules": [{"action": "allow", "from": ["peers"], "to": ["host"], "via": "x"}]},
        {"forwards": ["tcp/80"]},
        {"connection_limit": 0},
        {"limit": 1},
    ],
)
def test_what_is_no_policy_is_refused_by_schema_and_settings(policy: dict[str, Any]) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(policy)
    with pytest.raises(ValidationError):
        PolicySettings.model_validate(policy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = sorted(PolicySettings.model_fields)


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_whatever_is_no_policy_is_a_validation_error(found: dict[str, Any]) -> None:
    try:
        PolicySettings.model_validate(found)
    except ValidationError as error:
        assert error.errors()
    else:
        assert Draft202012Validator(SCHEMA).is_valid(found)
