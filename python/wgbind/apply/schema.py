"""The JSON Schema of documents, for editors and for programs that write them."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from wgbind.apply.document import Document
from wgbind.settings.model import ServerSettings


def apply_schema() -> str:
    """Return the schema as text (JSON Schema 2020-12)."""
    schema = Document.model_json_schema()
    settings = ServerSettings.model_json_schema()
    definitions = {**settings.pop("$defs"), **schema.pop("$defs")}
    # A document names what shall change, and null takes a key away.
    sections = {section["$ref"].rpartition("/")[2] for section in _sections(settings)}
    for name in sections:
        section = definitions[name]
        section.pop("required", None)
        section["properties"] = {
            key: {"anyOf": [value, {"type": "null"}]}
            for key, value in section["properties"].items()
        }
    schema["properties"]["settings"] = {
        "type": "object",
        "description": schema["properties"]["settings"]["description"],
        "properties": {
            key: {"$ref": value["$ref"]} for key, value in settings["properties"].items()
        },
        "additionalProperties": False,
    }
    whole = {"$schema": GenerateJsonSchema.schema_dialect, **schema, "$defs": definitions}
    return json.dumps(whole, indent=2) + "\n"


def _sections(settings: dict[str, Any]) -> list[dict[str, str]]:
    return list(settings["properties"].values())
