"""Signature Version 4, judged by botocore's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.types import HttpRequest
from unbroken.wire.sigv4 import sign

auth = pytest.importorskip("botocore.auth", reason="botocore judges our signatures")
awsrequest = pytest.importorskip("botocore.awsrequest")
credentials = pytest.importorskip("botocore.credentials")

NOON = datetime(2026, 8, 20, 12, 0, 0, tzinfo=UTC)
KEYS = {"key_id": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/a/converse"


def post(url: str = URL, *, body: bytes = b"{}", headers: dict[str, str] | None = None) -> HttpRequest:
    return HttpRequest(method="POST", url=url, headers=headers or {"content-type": "application/json"}, body=body)


def judged(request: HttpRequest, *, token: str, region: str, service: str, moment: str) -> str:
    """The `authorization` that botocore gives, at a moment of our choice."""
    made: Any = awsrequest.AWSRequest(
        method=request.method, url=request.url, data=request.body, headers=dict(request.headers)
    )
    keys = credentials.Credentials(KEYS["key_id"], KEYS["secret"], token or None)
    signer: Any = auth.SigV4Auth(keys, service, region)
    made.context["timestamp"] = moment
    signer._modify_request_before_signing(made)
    signature = signer.signature(signer.string_to_sign(made, signer.canonical_request(made)), made)
    signer._inject_signature_to_request(made, signature)
    return str(made.headers["Authorization"])


SEGMENTS = st.text("abcABC019-._~:/@!$&'()*+,;= %é", min_size=1, max_size=30)
MODELS = st.one_of(
    st.sampled_from([
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/1arbu5hu2sjr",
        "..",
    ]),
    SEGMENTS,
)  # fmt: skip
QUERIES = st.lists(st.tuples(st.sampled_from("abAB-~"), st.text("ab %&/+é", max_size=5)), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "x-amz-target", "x-amzn-bedrock-trace", "user-agent", "connection", "accept"]),
    st.text(" abc;=/", max_size=12),
)


@given(
    model=MODELS,
    quoted=st.sampled_from(["", ":", "/:"]),
    query=QUERIES,
    headers=HEADERS,
    body=st.binary(max_size=40),
    token=st.sampled_from(["", "FwoGZXIvYXdzE+session/token=="]),
    host=st.sampled_from(["bedrock-runtime.eu-west-3.amazonaws.com", "127.0.0.1:8080", "Proxy.example:443", "[::1]"]),
    at=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)),  # noqa: DTZ001 - made UTC below
)
def test_signatures_are_botocores(  # noqa: PLR0913 - each is drawn
    model: str, quoted: str, query: str, headers: dict[str, str], body: bytes, token: str, host: str, at: datetime
) -> None:
    """Whatever is asked, at whatever time, our signature is the one that botocore gives."""
    url = f"https://{host}/model/{quote(model, safe=quoted)}/converse{'?' + query if query else ''}"
    request = post(url, body=body, headers=headers)
    signed = sign(request, **KEYS, token=token, region="eu-west-3", service="bedrock", at=at)
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    expected = judged(request, token=token, region="eu-west-3", service="bedrock", moment=moment)
    assert signed.headers["authorization"] == expected
    assert signed.headers["x-amz-date"] == moment
    assert signed.headers.get("x-amz-security-token", "") == token
    assert (signed.url, signed.body, signed.method) == (request.url, request.body, "POST")


def test_times_are_told_in_utc() -> None:
    """The same moment, told in another time zone or without one, gives the same signature."""
    told = [NOON, NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), NOON.replace(tzinfo=None)]
    signed = [sign(post(), **KEYS, region="us-east-1", service="bedrock", at=at) for at in told]
    assert signed[0] == signed[1] == signed[2]
    assert signed[0].headers["x-amz-date"] == "20260820T120000Z"


def test_signing_again_replaces_the_signature() -> None:
    """A request that was signed before, or shows a key, is signed as if it were not."""
    once = sign(post(), **KEYS, region="us-east-1", service="bedrock", at=NOON)
    with_key = post(headers={**once.headers, "authorization": "Bearer k", "x-amz-security-token": "old"})
    assert sign(with_key, **KEYS, region="us-east-1", service="bedrock", at=NOON) == once


def test_a_get_without_a_path() -> None:
    """An address alone is asked for its root."""
    request = HttpRequest(method="GET", url="https://secretsmanager.eu-west-1.amazonaws.com", headers={})
    signed = sign(request, **KEYS, region="eu-west-1", service="secretsmanager", at=NOON)
    moment = "20260820T120000Z"
    expected = judged(request, token="", region="eu-west-1", service="secretsmanager", moment=moment)
    assert signed.headers["authorization"] == expected
