"""What a provider says when it does not answer, read into a `Failure`.

    classify         any HTTP answer that is not a 200
    classify_event   an error object inside a 200: a body, or an event of a stream

Three files do the work: `envelopes` finds the error in what was sent, `rulings` says what its
words mean, `comeback` when to come back; this one puts a Failure together.  Where a provider
stands behind a provider, the innermost codes decide what it was and the outermost readable
message is shown.  No part of a Failure holds a key, and HTML is never shown.
"""

from __future__ import annotations

from dataclasses import replace

from unbroken.failures import Failure, FailureKind, Scope
from unbroken.types import HttpReply, Json
from unbroken.wire.comeback import clock_s, come_back_s, pacific_midnight_s, utc_midnight_s
from unbroken.wire.envelopes import (
    code_of,
    is_error,
    is_final,
    is_html,
    layers_of,
    named,
    read,
    redact,
    safe,
    shown,
    tell,
)
from unbroken.wire.rulings import Ruling, Told, decide

__all__ = ["classify", "classify_event", "come_back_s", "redact"]

BODY_BYTES_MAX = 262_144
"""More of an error body is not read: an error says what it has to say at once."""
PLAIN_CHARS_MAX = 300
"""Of a plain-text body, which may be a log."""


def classify(reply: HttpReply, *, now_epoch_s: float | None = None) -> Failure:
    """The failure that an HTTP answer other than a good 200 is; never raises.

    `now_epoch_s` is the wall clock; the answer's own `date` header is preferred to it.
    Without either, absolute times are passed over and daily quotas cool as the table says.
    """
    text = reply.body[:BODY_BYTES_MAX].decode("utf-8", "replace").strip()
    value = read(text)
    if reply.status < 300 and not is_error(value):
        return _unexpected(reply.status, text)
    page = value is None and is_html(text)
    layers = layers_of(value if value is not None else "" if page else redact(text)[:PLAIN_CHARS_MAX])
    told = replace(tell(layers, reply.headers, status=reply.status), html=page)
    status = reply.status if reply.status >= 300 else told.status
    return _failure(told, now_epoch_s=now_epoch_s, body=value, status=status, otherwise=_describe(reply.status, text))


def classify_event(value: Json, *, status: int | None = None) -> Failure | None:
    """The failure that a decoded JSON value reports inside a 200, or None where it reports none.

    `status` is for an error whose HTTP status is known (200 is as good as none); without
    one it is derived from the error's own code or type.
    """
    if not is_error(value):
        return None
    body = safe(value)
    told = tell(layers_of(body), {}, status=status)
    return _failure(told, body=body, status=told.status, otherwise="an error without a message")


# ------------------------------------------------------------------- answers without an error


def _unexpected(status: int, text: str) -> Failure:
    """A 2xx that is not an answer: nothing at all, a page of somebody else's, or a job accepted."""
    failure = Failure(kind=FailureKind.MALFORMED, message=_describe(status, text), status=status)
    # A captive portal, an expired domain, a wrong base URL: whatever it is, it is not the provider.
    return replace(failure, scope=Scope.ENDPOINT, cool_s=_PORTAL_S) if is_html(text) else failure


_PORTAL_S = 10.0


def _describe(status: int, text: str) -> str:
    """Words for an answer whose body has none."""
    if is_html(text):
        return f"{status} with an HTML page"
    return f"{status} with an empty body" if not text else f"{status} without a message"


# ------------------------------------------------------------------- the failure

_HINTED = frozenset(
    {FailureKind.RATE_LIMIT, FailureKind.QUOTA, FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.LOADING}
)
"""Kinds that pass with time.  Others carry `retry-after` too (Anthropic sends it with a 200)."""
_LIMITS = frozenset({FailureKind.RATE_LIMIT, FailureKind.QUOTA})
_PURSE_S_MIN = 60.0
"""A shorter wait is the rate limiter's: no purse is filled within a minute."""


def _failure(
    told: Told, *, body: Json, status: int | None, otherwise: str, now_epoch_s: float | None = None
) -> Failure:
    """What was told and ruled, put together; `otherwise` is shown where nothing readable was said."""
    ruling = decide(told)
    hint_s = _hint_s(told, ruling, now_epoch_s=now_epoch_s)
    return Failure(
        kind=ruling.kind,
        message=shown(told.layers, otherwise),
        status=status if status is not None else _STATUS_OF_KIND.get(ruling.kind),
        code=ruling.code or code_of(told),
        type=named(told.layers, ("type", "error_type", "status")),
        param=named(told.layers, ("param",)),
        retry_after_s=hint_s,
        scope=ruling.scope,
        cool_s=ruling.cool_s if hint_s is None else None,
        again=ruling.again and not is_final(told),
        body=body,
    )


_STATUS_OF_KIND = {
    FailureKind.REQUEST: 400,
    FailureKind.CONTEXT_LENGTH: 400,
    FailureKind.CONTENT_POLICY: 400,
    FailureKind.MODEL_FAULT: 400,
    FailureKind.RATE_LIMIT: 429,
    FailureKind.QUOTA: 429,
    FailureKind.AUTH: 401,
    FailureKind.DENIED: 403,
    FailureKind.MODEL_MISSING: 404,
    FailureKind.OVERLOADED: 503,
    FailureKind.LOADING: 503,
}
"""The status of an error that came inside a 200 and has a code, but no category and no number."""


def _hint_s(told: Told, ruling: Ruling, *, now_epoch_s: float | None) -> float | None:
    """When it said to come back, as far as that means anything for this kind."""
    if ruling.kind not in _HINTED or ruling.scope is Scope.NONE:
        return None
    now = clock_s(told.headers, now_epoch_s)
    if ruling.until:
        midnight_s = pacific_midnight_s if ruling.until == "pacific" else utc_midnight_s
        return None if now is None else midnight_s(now)
    inner_first = list(reversed(told.layers))
    resets = ruling.kind in _LIMITS
    seconds = come_back_s(told.headers, inner_first, text=told.text, now_epoch_s=now, resets=resets)
    too_soon = ruling.kind is FailureKind.QUOTA and seconds is not None and seconds < _PURSE_S_MIN
    return None if too_soon else seconds
