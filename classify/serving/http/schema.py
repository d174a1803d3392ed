"""The OpenAPI schema of a request to predict, whose body is read by hand."""

from __future__ import annotations

from typing import Any

_ROW = {
    "type": "object",
    "required": ["id", "label", "score", "scores"],
    "properties": {
        "id": {"type": "string"},
        "label": {"type": "string", "description": "The most probable label"},
        "score": {"type": "number", "description": "Its probability"},
        "scores": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "Label -> probability, the most probable first",
        },
        "remark": {"type": "string", "description": "Why to trust it less"},
        "recording": {"type": "string", "description": "Of a window: the id of the recording"},
        "start": {"type": "number", "description": "Of a window, in seconds"},
        "end": {"type": "number", "description": "Of a window, in seconds"},
    },
}
_NUMBERS = {
    "type": "object",
    "required": ["id", "values"],
    "properties": {
        "id": {"type": "string"},
        "values": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "Dimension -> number on its scale (see /labels), for a regression model",
        },
        **{name: _ROW["properties"][name] for name in ("remark", "recording", "start", "end")},
    },
}
_REFUSED = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
        }
    }
}
_REASONS = {
    "400": "The body or a parameter is malformed",
    "403": "Request from another origin or host name",
    "408": "The body arrived too slowly",
    "413": "The body is too large",
    "415": "Unsupported content type",
    "422": "The clip cannot be predicted; the code gives the reason",
    "503": "Too many requests; see Retry-After",
}
_FIELDS = {
    "text": {"type": "string", "description": "Transcript of the clip"},
    "id": {"type": "string", "description": "Name of the clip in the answer"},
}

#: the operation's own part of the schema
PREDICT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"audio": {"type": "string", "format": "binary"}, **_FIELDS},
                }
            },
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["text"],
                    "properties": _FIELDS,
                    "additionalProperties": False,
                }
            },
        },
    },
    "responses": {
        "200": {
            "description": "One row a clip or window, as `affekt predict --json` prints them",
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": {"anyOf": [_ROW, _NUMBERS]}}
                }
            },
        },
        **{
            status: {"description": reason, "content": _REFUSED}
            for status, reason in _REASONS.items()
        },
    },
}
