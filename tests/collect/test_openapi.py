"""The service keeps its own description: schemathesis sends what the description allows and forbids to the program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from obfstats.collect.server.openapi import DESCRIPTION
from obfstats.collect.submission import check_submission, read_request
from tests.collect.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.collect.services import Served

EXAMPLES_NOW = 1_796_047_740
"""2026-11-30 14:09:00 UTC, when the example's interval is over."""


schema = schemathesis.openapi.from_dict(DESCRIPTION)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The program, without admitted keys."""
    with serving(tmp_path_factory.mktemp("described") / "collector") as running:
        yield running
        assert running.child.stderr == ""


# schemathesis leaves connections that the service has closed to the collector of garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_the_service_keeps_its_description(case: schemathesis.Case[Any], server: Served) -> None:
    """Statuses, content types, headers and bodies are those of the description; what it forbids is refused."""
    # No generated document has a right signature.
    case.call_and_validate(base_url=server.url, excluded_checks=[positive_data_acceptance])


def test_the_service_serves_its_description(server: Served) -> None:
    """It is what the tests here compare the service with."""
    assert json.loads(server.get("/v1/openapi.json").body) == DESCRIPTION


def test_the_examples_request_is_taken() -> None:
    """The document of the example is signed by its key and can be published."""
    example = DESCRIPTION["paths"]["/v1/documents"]["post"]["requestBody"]["content"]["application/json"]["example"]
    key, ((text, signature),) = read_request(json.dumps(example).encode())
    assert check_submission(key, text, signature, EXAMPLES_NOW).instance == ""


def test_every_answer_has_an_example_of_its_schema() -> None:
    """The examples of answers follow the schemas beside them."""
    checked = 0
    for path in DESCRIPTION["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                for content in answer["content"].values():
                    if "example" in content:
                        _check_example(content["schema"], content["example"])
                        checked += 1
    assert checked >= 15


def _check_example(schema: dict[str, Any], example: object) -> None:
    whole = {**schema, "components": DESCRIPTION["components"]}
    jsonschema_rs.validate(whole, example)
