"""Every operation answers as the OpenAPI file says, whatever is sent: schemathesis makes up the requests.

TORTURE_ROUNDS sets how many for each operation (a few unless told).
"""

import os
from itertools import product

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .serving import base64_of, picture

EXAMPLES = int(os.environ.get("TORTURE_ROUNDS", "6"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema(serve, tmp_path_factory):
    """Of a service that has something of everything."""
    import httpx2 as httpx

    root = tmp_path_factory.mktemp("roots") / "photos"
    root.mkdir()
    (root / "0.png").write_bytes(picture(0))
    served = serve(roots=(root,), immich=True, request_s=10)
    with httpx.Client(base_url=served.address, timeout=60) as api:
        for name in ("0", "00"):
            api.post("/v1/collections", json={"name": name})
            rows = [{"id": str(i), "picture": base64_of(picture(i)), "metadata": {"0": i}} for i in range(3)]
            api.put(f"/v1/collections/{name}/pictures", json={"pictures": rows})
            api.post("/v1/labels", json={"name": name, "labels": ["0", "a"]})
    return schemathesis.openapi.from_url(f"{served.address}/openapi.json")


@pytest.mark.filterwarnings("ignore::anmok.texts.scripts.UnsupportedScriptWarning")  # of the tiny model's tokenizer
def test_no_request_is_answered_otherwise_than_the_file_says(schema):
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    wrong = {}
    for operation, mode in product(operations, GenerationMode):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            response = case.call(timeout=30)
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing can be wrong with a request without fields
        except (Exception, BaseExceptionGroup) as error:
            wrong[f"{operation.label} ({mode.value})"] = str(error)[:600]
    assert not wrong, "\n\n".join(f"{label}: {error}" for label, error in wrong.items())
