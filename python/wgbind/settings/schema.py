"""The JSON Schema of the section [policy], for editors and for programs that write it."""

from __future__ import annotations

import json

from pydantic.json_schema import GenerateJsonSchema

from wgbind.settings.policy import PolicySettings


def policy_schema() -> str:
    """Return the schema as text (JSON Schema 2020-12)."""
    schema = PolicySettings.model_json_schema()
    return json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **schema}, indent=2) + "\n"
