"""How an edition is written, as a JSON Schema: for editors, which then complete and explain.

It knows the spelling alone, as `document` does; what the parts owe each other is in `rules`.
docs/edition.schema.json is this, written out.
"""

from typing import Any

from vault.policy.document import Document

Schema = dict[str, Any]


def edition_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of an edition."""
    schema = Document.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidied(schema),
        "title": "An edition of a privacy policy",
    }


def _tidied(node: Any) -> Any:
    """Take out what tells a writer nothing: invented titles, and that a key may be null.

    A key under a name of one's own must be spelled as names are; nothing else is let in.
    """
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _tidied(value) for key, value in node.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    match kept:
        case {"anyOf": [alone, {"type": "null"}], "default": None}:
            del kept["anyOf"], kept["default"]
            kept = {**alone, **kept}
    return kept
