"""What a hostile provider may send, as Hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from wire.error_rows import NOON

NAMES = (
    *("error", "errors", "message", "detail", "details", "code", "type", "status", "metadata", "raw", "headers"),
    *("choices", "response", "reason", "violations", "retryDelay", "estimated_time", "loc", "msg", "innererror"),
    *("availability", "upstreamStatus"),
)
HEADER_NAMES = (
    *("retry-after", "retry-after-ms", "date", "ratelimit", "x-ratelimit-reset", "x-ratelimit-remaining"),
    "x-amzn-errortype",
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)
HEADERS = st.dictionaries(
    st.sampled_from(HEADER_NAMES),
    st.text(max_size=30) | st.sampled_from(["nan", "-1", "1e999", "5", NOON, "9" * 400, '"a";r=0;t=5']),
)
