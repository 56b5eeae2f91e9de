"""The bounded shelf."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from unbroken.cache.shelf import Shelf

OWN = Shelf.KEY_BYTES


@dataclass(frozen=True)
class Thing:
    size_bytes: int


def test_a_thing_stands_there_for_its_time() -> None:
    """It is found with its age until its time is over, and takes no room after that."""
    shelf: Shelf[Thing] = Shelf(10_000)
    thing = Thing(100)
    assert shelf.put("a", thing, keep_s=10.0, now=5.0)
    assert shelf.get("a", 5.0) == (thing, 0.0)
    assert shelf.get("a", 14.9) == (thing, 9.9)
    assert shelf.size_bytes == 100 + OWN
    assert shelf.get("a", 15.0) is None
    assert (len(shelf), shelf.size_bytes) == (0, 0)
    assert shelf.get("b", 0.0) is None


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    """Being asked for keeps a thing; being put first does not."""
    shelf: Shelf[Thing] = Shelf(4 * (100 + OWN))
    for name in "abcd":
        assert shelf.put(name, Thing(100), keep_s=9.0, now=0.0)
    assert len(shelf) == 4
    assert shelf.get("a", 1.0) is not None
    assert shelf.put("e", Thing(100), keep_s=9.0, now=1.0)
    assert [name for name in "abcde" if shelf.get(name, 1.0)] == ["a", "c", "d", "e"]


def test_one_thing_may_not_take_all_the_room() -> None:
    """A quarter of the shelf at most; an older thing under its name is gone all the same."""
    shelf: Shelf[Thing] = Shelf(4_000)
    assert shelf.thing_bytes_max == 1_000
    assert shelf.put("a", Thing(1_000 - OWN), keep_s=9.0, now=0.0)
    assert not shelf.put("a", Thing(1_001 - OWN), keep_s=9.0, now=0.0)
    assert len(shelf) == 0


def test_a_newer_thing_takes_the_place_of_an_older_one() -> None:
    """Under one name there is one thing, and its time begins anew."""
    shelf: Shelf[Thing] = Shelf(10_000)
    shelf.put("a", Thing(100), keep_s=10.0, now=0.0)
    shelf.put("a", Thing(50), keep_s=10.0, now=5.0)
    assert shelf.get("a", 12.0) == (Thing(50), 7.0)
    assert shelf.size_bytes == 50 + OWN


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2_000), st.booleans()), max_size=60))
def test_it_never_holds_more_than_it_may(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever is put and dropped, the sum is right and within the bound."""
    shelf: Shelf[Thing] = Shelf(5_000)
    for now, (name, size, put) in enumerate(steps):
        if put:
            shelf.put(name, Thing(size), keep_s=20.0, now=float(now))
        else:
            shelf.drop(name)
        there = [found[0] for key in "abcdefgh" if (found := shelf.get(key, float(now)))]
        assert shelf.size_bytes == sum(thing.size_bytes + OWN for thing in there) <= 5_000
