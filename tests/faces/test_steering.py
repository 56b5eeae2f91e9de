"""Headers with which callers steer their requests."""

from __future__ import annotations

import pytest

from unbroken.faces.gateway import WANTED_HEADERS
from unbroken.faces.steering import STEERING, steered
from unbroken.failures import Failure
from unbroken.policy import Route
from unbroken.types import Target

ROUTE = Route(name="m", targets=(Target(name="a/m", provider="a", model="m"),), requirements={"speed": 1.0})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("cost=0.2,speed=0.8", {"cost": 0.2, "speed": 0.8}),
        (" reliability = 1 , ", {"reliability": 1.0}),
        ("cost=0", {"speed": 1.0}),
        ("", {"speed": 1.0}),
    ],
)
def test_a_caller_says_what_counts(said: str, meant: dict[str, float]) -> None:
    """Shares of cost, speed and reliability take the place of the route's own; where none counts they stay."""
    route = steered(ROUTE, {"x-unbroken-requirements": said}, spoken="openai_chat")
    assert isinstance(route, Route)
    assert route.requirements == meant


@pytest.mark.parametrize("said", ["beauty=1", "cost", "cost=2", "cost=-1", "cost=nan", "cost=1;speed=1", "=1"])
def test_nonsense_is_told(said: str) -> None:
    """What is no share of a quality is the caller's fault, with an example of what would be right."""
    found = steered(ROUTE, {"x-unbroken-requirements": said}, spoken="openai_chat")
    assert isinstance(found, Failure)
    assert found.status == 400
    assert "cost=0.5, speed=0.5, reliability=0.5" in found.message


def test_all_of_them_are_read() -> None:
    """No header that steers is thrown away by the server before anybody looks at it."""
    assert {name.encode() for name in STEERING} <= WANTED_HEADERS
