"""The description of the service in OpenAPI 3.1, which it serves at /v1/openapi.json.

Written by hand. The tests compare it with the running service, by schemathesis, and its examples with submission.py.
"""

from __future__ import annotations

import json
from typing import Any

from obfstats.collect.submission import (
    CONTENT_TYPE,
    DOCUMENTS_PATH,
    MAX_DOCUMENTS,
    MAX_REQUEST_LENGTH,
    MAX_TEXT_LENGTH,
    STATUS_PATH,
)

_TIME = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"}
_COUNT = {"type": "integer", "minimum": 0}
_KEY = {
    "type": "string",
    "pattern": "^RW[A-Za-z0-9+/]{54}$",
    "description": "A public key of minisign's, in base64. `obfstats key show` prints a bridge's.",
}
_KEY_EXAMPLE = "RWQMXTnZqACaBaeL9xPAMZqyI3GOqV5DlQHrnjcuA07co6ZU3U/F0Kbw"
_DOCUMENT_EXAMPLE = """\
@type obfsproxy-stats 1.0
hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
obfsproxy-stats-end (86400 s) 2026-11-29 09:22:04
obfsproxy-ips DE=48,EU=48,AU=32
obfsproxy-reqs DE=64,EU=56,AU=32
"""
_SIGNATURE_EXAMPLE = f"""\
untrusted comment: signature by {_KEY_EXAMPLE}
RUQMXTnZqACaBaw5nN60nHlMZRDRVX707Bv9uylNs2C6dcM/vsaY/SA5fykBW040M/KrVc0TOl6G2ocVyRW0tFUVOXlj5J4hEwM=
trusted comment: obfstats
M3Tg1kCdnBAa6ggV6X/13I0insxICkJwY8Yu+Zg3SMEAqnTq1UNZ2v+1cHQ/R4DMLpDAZ/UqJE+H+zNWtp6aDg==
"""

_SCHEMAS: dict[str, Any] = {
    "Request": {
        "type": "object",
        "required": ["key", "documents"],
        "additionalProperties": False,
        "properties": {
            "key": _KEY,
            "documents": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_DOCUMENTS,
                "items": {"$ref": "#/components/schemas/SignedDocument"},
            },
        },
    },
    "SignedDocument": {
        "type": "object",
        "required": ["document", "signature"],
        "additionalProperties": False,
        "properties": {
            "document": {
                "type": "string",
                "description": f"A document as docs/document.md has it, with @type and hashed-fingerprint; at most "
                f"{MAX_TEXT_LENGTH} bytes. It is published exactly as it is.",
            },
            "signature": {
                "type": "string",
                "description": "Its signature in minisign's format: four lines. The trusted comment is `obfstats`.",
            },
        },
    },
    "Results": {
        "type": "object",
        "required": ["documents"],
        "additionalProperties": False,
        "properties": {
            "documents": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Result"},
                "description": "One result a document, in the order of the request.",
            }
        },
    },
    "Result": {
        "type": "object",
        "required": ["status", "detail"],
        "additionalProperties": False,
        "properties": {
            "status": {"type": "integer", "enum": [200, 201, 202, 401, 409, 413, 422, 429]},
            "detail": {"type": "string", "description": "The same in words."},
            "published_by": {**_TIME, "description": "With 201: the publication that will have it, UTC."},
        },
    },
    "Refusal": {
        "type": "object",
        "required": ["detail"],
        "additionalProperties": False,
        "properties": {"detail": {"type": "string"}},
    },
    "KeyStatus": {
        "type": "object",
        "required": ["key", "admitted", "published", "last_interval_end", "quarantined", "conflicting"],
        "additionalProperties": False,
        "properties": {
            "key": _KEY,
            "admitted": {"type": "boolean"},
            "published": {**_COUNT, "description": "Documents in the public archive."},
            "last_interval_end": {"oneOf": [_TIME, {"type": "null"}]},
            "quarantined": {**_COUNT, "description": "Documents that wait for the collector's operators."},
            "conflicting": {**_COUNT, "description": "Documents whose interval has another content already."},
        },
    },
    "Health": {
        "type": "object",
        "required": ["status"],
        "additionalProperties": False,
        "properties": {"status": {"const": "ok"}},
    },
}

_RETRY_AFTER = {
    "Retry-After": {
        "required": True,
        "description": "Seconds after which the request may come again.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    }
}


def _answer(description: str, schemas: list[str], example: object, *, retry: bool = False) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in schemas]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    answer: dict[str, Any] = {
        "description": description,
        "content": {CONTENT_TYPE: {"schema": schema, "example": example}},
    }
    if retry:
        answer["headers"] = _RETRY_AFTER
    return answer


def _results(status: int, detail: str, **more: str) -> dict[str, Any]:
    return {"documents": [{"status": status, "detail": detail, **more}]}


_UNAVAILABLE = _answer(
    "The ledger does not accept documents now.",
    ["Refusal"],
    {"detail": "the ledger does not accept documents now; send the request again"},
    retry=True,
)

_POST = {
    "operationId": "sendDocuments",
    "summary": "Send documents",
    "description": "Each document is judged by itself. The HTTP status is that of all documents; 207 if they differ. "
    f"A request has {MAX_REQUEST_LENGTH} bytes at most. What is answered with 201, 200 or 202 is on the disk.",
    "requestBody": {
        "required": True,
        "content": {
            CONTENT_TYPE: {
                "schema": {"$ref": "#/components/schemas/Request"},
                "example": {
                    "key": _KEY_EXAMPLE,
                    "documents": [{"document": _DOCUMENT_EXAMPLE, "signature": _SIGNATURE_EXAMPLE}],
                },
            }
        },
    },
    "responses": {
        "200": _answer(
            "The same bytes are published already.", ["Results"], _results(200, "the same document is published")
        ),
        "201": _answer(
            "New, and will be published.", ["Results"], _results(201, "accepted", published_by="2026-11-30 14:09:00")
        ),
        "202": _answer(
            "In quarantine until the collector's operators admit the key.",
            ["Results"],
            _results(
                202,
                "quarantined: the key is not admitted; send the public key and the hashed fingerprint to the "
                "collector's operators",
            ),
        ),
        "207": _answer(
            "The documents have different results.",
            ["Results"],
            {
                "documents": [
                    {"status": 200, "detail": "the same document is published"},
                    {"status": 422, "detail": "line 4: not a country code"},
                ]
            },
        ),
        "400": _answer("Not JSON.", ["Refusal"], {"detail": "the request is not JSON"}),
        "401": _answer(
            "The signature is malformed or wrong.", ["Results"], _results(401, "the signature does not match")
        ),
        "409": _answer(
            "The interval has another content, or was withdrawn.",
            ["Results"],
            _results(409, "another document of this interval is published"),
        ),
        "413": _answer(
            "The request, or each document, is too long.",
            ["Refusal", "Results"],
            {"detail": f"the request exceeds {MAX_REQUEST_LENGTH} bytes"},
        ),
        "415": _answer(
            "Not JSON by its content type.", ["Refusal"], {"detail": f"the content type is not {CONTENT_TYPE}"}
        ),
        "422": _answer(
            "The request has another shape, or each document is not one that can be published.",
            ["Refusal", "Results"],
            _results(422, "line 4: not a country code"),
        ),
        "429": _answer(
            "Too many documents, or the quarantine is full.",
            ["Refusal", "Results"],
            {"detail": "too many documents; come again in 7 seconds"},
            retry=True,
        ),
        "503": _UNAVAILABLE,
    },
}

_GET_STATUS = {
    "operationId": "getStatus",
    "summary": "What the collector has of a key",
    "description": "An unknown key has zeros.",
    "parameters": [{"name": "key", "in": "query", "required": True, "schema": _KEY, "example": _KEY_EXAMPLE}],
    "responses": {
        "200": _answer(
            "What it has.",
            ["KeyStatus"],
            {
                "key": _KEY_EXAMPLE,
                "admitted": True,
                "published": 29,
                "last_interval_end": "2026-11-29 09:22:04",
                "quarantined": 0,
                "conflicting": 0,
            },
        ),
        "422": _answer("Not a public key.", ["Refusal"], {"detail": "key: not a public key of 56 characters"}),
        "503": _UNAVAILABLE,
    },
}

_GET_HEALTH = {
    "operationId": "getHealth",
    "summary": "Whether documents are taken",
    "responses": {"200": _answer("They are.", ["Health"], {"status": "ok"}), "503": _UNAVAILABLE},
}

_GET_METRICS = {
    "operationId": "getMetrics",
    "summary": "Numbers for Prometheus",
    "description": "For the collector's operators: a public copy would show when documents arrive.",
    "responses": {
        "200": {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
}

_GET_OPENAPI = {
    "operationId": "getDescription",
    "summary": "This description",
    "responses": {
        "200": {"description": "OpenAPI 3.1.", "content": {CONTENT_TYPE: {"schema": {"type": "object"}}}},
    },
}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "obfstats collector",
        "version": "1",
        "description": "Takes usage statistics of obfuscated Tor bridges and publishes them. The public archive is "
        "below /, by GET and HEAD: /index.json names every file.",
    },
    "paths": {
        DOCUMENTS_PATH: {"post": _POST},
        STATUS_PATH: {"get": _GET_STATUS},
        "/v1/health": {"get": _GET_HEALTH},
        "/v1/openapi.json": {"get": _GET_OPENAPI},
        "/metrics": {"get": _GET_METRICS},
    },
    "components": {"schemas": _SCHEMAS},
}
"""The description."""

OPENAPI = json.dumps(DESCRIPTION, separators=(",", ":")).encode()
"""The same as it is sent."""
