"""One limit: never more than it in any window, by our account and by the provider's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.meters import SLOTS, Meter
from unbroken.facts import Reading

START = 1_000.0


def meter(limit: float = 10.0, window_s: float = 60.0) -> Meter:
    return Meter("requests", limit, window_s=window_s)


def word(remaining: float | None = 5.0, *, limit: float = 10.0, window_s: float = 60.0, reset_s: float | None = None,
         steady: bool = False) -> Reading:  # fmt: skip
    return Reading("requests", "requests", limit, window_s, remaining, reset_s, steady)


def learned(reading: Reading, *, at: float = START) -> Meter:
    made = Meter("requests", 1.0, window_s=0.0)
    made.told(reading, at=at, seq=0, sent=0.0)
    return made


def test_what_was_spent_comes_back_a_window_later() -> None:
    """A limit is used to its last bit, and not a moment before the window is over is there more."""
    one = meter()
    for _ in range(10):
        assert one.has_room(1.0, START)
        one.spend(1.0, START)
    assert not one.has_room(1.0, START)
    back = one.free_at(1.0, START)
    assert back == START + 60.0 * (1.0 + 1.0 / SLOTS)
    assert not one.has_room(1.0, back - 0.001)
    assert one.has_room(10.0, back)
    assert one.room(back) == 10.0


def test_what_comes_later_comes_back_later() -> None:
    """Room grows as each of what was spent gets too old, and not all at once."""
    one = meter()
    one.spend(6.0, START)
    one.spend(4.0, START + 30.0)
    assert one.free_at(6.0, START + 40.0) < START + 61.0
    assert START + 90.0 < one.free_at(7.0, START + 40.0) < START + 91.0
    assert one.room(START + 61.0) == 6.0


def test_more_than_the_whole_limit_goes_when_nothing_else_is_spent() -> None:
    """A request larger than the limit is left to the provider to judge, and waits for an empty account."""
    one = meter()
    assert one.has_room(25.0, START)
    one.spend(1.0, START)
    assert not one.has_room(25.0, START)


def test_a_crowd_is_told_how_many_windows_it_waits() -> None:
    """For more than one limit's worth, whole windows are added; for exactly one, none."""
    one = meter()
    assert one.free_at(10.0, START) == START
    assert one.free_at(20.0, START) == START + 60.0
    assert one.free_at(25.0, START) == START + 120.0
    one.spend(10.0, START)
    assert one.free_at(11.0, START) == one.free_at(1.0, START) + 60.0


def test_less_than_was_thought_makes_room_at_once() -> None:
    """What was set aside and not used is there again; of what is long gone nothing is."""
    one = meter()
    entry, seq, sent = one.spend(8.0, START)
    assert (seq, sent) == (1, 8.0)
    one.correct(entry, seq, by=-5.0, now=START + 1.0)
    assert one.room(START + 1.0) == 7.0
    assert one.room(START + 61.0) == 10.0
    one.correct(entry, seq, by=-3.0, now=START + 62.0)
    assert one.room(START + 62.0) == 10.0


def test_more_than_was_thought_is_spent_when_it_is_known() -> None:
    """Tokens that came beyond the estimate count from now on, for a window."""
    one = meter()
    entry, seq, _ = one.spend(2.0, START)
    one.correct(entry, seq, by=3.0, now=START + 50.0)
    assert one.room(START + 50.0) == 5.0
    assert one.room(START + 61.0) == 7.0
    assert one.room(START + 110.6) == 10.0


def test_what_is_spent_together_is_one_entry() -> None:
    """However much goes out, an account has no more entries than a window has parts."""
    one = meter(1e9)
    first, *_ = one.spend(1.0, START)
    assert one.spend(1.0, START + 0.49)[0] is first
    other, *_ = one.spend(1.0, START + 0.5)
    assert other is not first
    assert one.room(START + 60.98) == 1e9 - 3.0
    assert one.room(START + 60.995) == 1e9 - 1.0
    assert one.room(START + 61.0) == 1e9


def test_a_providers_word_bounds_what_goes_out() -> None:
    """Others use the quota too: what is left is what it says, less what went out since."""
    one = meter()
    _, seq, sent = one.spend(1.0, START)
    one.spend(2.0, START + 1.0)
    one.told(word(4.0, reset_s=20.0), at=START, seq=seq, sent=sent)
    assert one.room(START + 2.0) == 2.0
    one.spend(1.0, START + 2.0)
    assert one.room(START + 2.0) == 1.0
    assert one.free_at(2.0, START + 2.0) == START + 20.0
    assert one.room(START + 19.9) == 1.0
    assert one.room(START + 20.0) == 6.0


def test_a_bucket_refills_all_the_time() -> None:
    """Between two words there is as much more as has come back meanwhile, less a margin for the way."""
    one = learned(word(0.0, steady=True))
    assert one.room(START) == one.room(START + 0.3) == 0.0
    assert not one.has_room(1.0, START + 6.2)
    assert one.has_room(1.0, START + 6.4)
    assert one.free_at(1.0, START) == pytest.approx(START + 6.3)
    assert one.free_at(1.0, START + 5.0) == pytest.approx(START + 6.3)
    assert one.free_at(10.0, START) == START + 60.0
    assert one.room(START + 60.0) == 10.0


def test_older_words_do_not_count() -> None:
    """An answer that was long on its way tells of a time before the last word."""
    one = meter()
    _, first, sent_first = one.spend(1.0, START)
    _, second, sent_second = one.spend(1.0, START)
    one.told(word(3.0), at=START, seq=second, sent=sent_second)
    one.told(word(9.0), at=START, seq=first, sent=sent_first)
    assert one.room(START) == 3.0
    one.told(word(2.0), at=START, seq=second, sent=sent_second)
    assert one.room(START) == 2.0


def test_words_about_we_do_not_know_what_count_only_downwards() -> None:
    """In the storm in which a limit is learned, the smallest remainder is the newest."""
    one = learned(word(4.0))
    one.told(word(8.0), at=START, seq=0, sent=0.0)
    assert one.room(START) == 4.0
    one.told(word(1.0), at=START, seq=0, sent=0.0)
    assert one.room(START) == 1.0
    one.spend(1.0, START)
    one.told(word(0.0), at=START, seq=0, sent=0.0)
    assert one.room(START) == 0.0


def test_corrections_count_against_the_word_only_for_what_came_after_it() -> None:
    """What the provider had counted already is not counted again when the truth comes out."""
    one = meter()
    early, early_seq, sent = one.spend(2.0, START)
    late, late_seq, _ = one.spend(2.0, START)
    one.told(word(6.0), at=START, seq=early_seq, sent=sent)
    assert one.room(START) == 4.0
    one.correct(early, early_seq, by=-1.0, now=START)
    assert one.room(START) == 4.0
    one.correct(late, late_seq, by=-1.0, now=START)
    assert one.room(START) == 5.0


@pytest.mark.parametrize("limit", [5.0, 30.0])
def test_limits_change(limit: float) -> None:
    """A provider's limit is followed, up and down."""
    one = learned(word(limit=10.0))
    one.told(word(limit, limit=limit), at=START + 61.0, seq=0, sent=0.0)
    assert one.limit == one.room(START + 61.0) == limit


def test_a_long_window_that_was_guessed_is_left_to_the_provider() -> None:
    """Of a day's limit only the provider knows what went before us; an operator's own is counted."""
    guessed = learned(word(10.0, window_s=86_400.0))
    hourly = learned(word(10.0, window_s=3_600.0))
    own = meter(10.0, window_s=86_400.0)
    own.told(word(10.0, window_s=86_400.0), at=START, seq=0, sent=0.0)
    for one in (guessed, hourly, own):
        one.spend(10.0, START)
    later = START + 3_599.0
    assert hourly.room(later) == own.room(later) == 0.0
    assert guessed.room(START + 86_400.0) == float("inf")


def test_an_hour_is_counted_and_more_is_not() -> None:
    """Of a limit that only the provider told, an hour is the longest window that our own account covers."""
    hour, longer = (learned(word(None, window_s=window_s)) for window_s in (3_600.0, 3_601.0))
    for one in (hour, longer):
        one.spend(10.0, START)
    assert hour.room(START) == 0.0
    assert longer.room(START) == float("inf")


def test_sums_that_are_not_exact_are_no_obstacle() -> None:
    """Three times a tenth fits into three tenths, by our account and by the provider's."""
    own, told = meter(0.3), learned(word(0.3, limit=0.3, steady=True))
    for one in (own, told):
        one.spend(0.1, START)
        one.spend(0.1, START)
        assert one.room(START) < 0.1
        assert one.has_room(0.1, START)
        assert one.free_at(0.1, START) == START


def test_what_was_put_right_comes_back_as_it_is() -> None:
    """When an entry gets too old, as much comes back as it holds by then."""
    one = meter()
    entry, seq, _ = one.spend(8.0, START)
    one.spend(1.0, START + 10.0)
    one.correct(entry, seq, by=-5.0, now=START + 10.0)
    one.correct(entry, seq, by=0.5, now=START + 20.0)
    assert one.room(START + 20.0) == 5.5
    assert one.room(START + 61.0) == 8.5
    assert one.room(START + 71.0) == 9.5
    assert one.room(START + 81.0) == 10.0


def test_what_went_out_since_a_word_delays_what_comes_back() -> None:
    """A bucket that was empty has to refill for those before us too."""
    one = learned(word(1.0, steady=True))
    one.spend(2.0, START)
    assert one.free_at(1.0, START) == pytest.approx(START + 12.3)


def test_of_an_unknown_window_only_the_end_is_known() -> None:
    """Where only the reset is told, the remainder counts until then and nothing does after it."""
    one = learned(word(1.0, window_s=0.0, reset_s=30.0))
    one.spend(1.0, START)
    assert one.free_at(1.0, START) == START + 30.0
    assert one.room(START + 29.9) == 0.0
    assert one.room(START + 30.0) == float("inf")


def test_a_reset_beyond_the_window_is_not_believed() -> None:
    """Azure's reset is in milliseconds here and in seconds there; nobody waits longer than the window."""
    one = learned(word(0.0, reset_s=500.0))
    assert one.free_at(1.0, START) == START + 60.0


def test_a_word_without_a_remainder_is_only_the_limit() -> None:
    """Who tells the limit alone bounds what we spend ourselves."""
    one = learned(word(None, limit=2.0))
    one.spend(2.0, START)
    assert not one.has_room(1.0, START)


def test_large_sums_that_are_not_exact_are_no_obstacle() -> None:
    """Seven sevenths of a million fit into a million, by our account and by the provider's."""
    own, told = meter(1e6), learned(word(1e6, limit=1e6, steady=True))
    part = (1e6 + 1e-4) / 7.0
    for one in (own, told):
        for _ in range(6):
            one.spend(part, START)
        assert one.has_room(part, START)
        assert one.free_at(part, START) == START
        assert not one.has_room(part + 1e-2, START)


def test_what_is_long_gone_is_not_put_right_among_the_others() -> None:
    """What came back with its window came back once."""
    one = meter()
    entry, seq, _ = one.spend(4.0, START)
    one.spend(3.0, START + 30.0)
    assert one.room(START + 61.0) == 7.0
    one.correct(entry, seq, by=-2.0, now=START + 61.0)
    assert one.room(START + 61.0) == 7.0


def test_a_little_less_is_taken_from_its_own_time() -> None:
    """Nothing of it is left behind when that is over; and an empty account is exactly empty."""
    one = meter()
    entry, seq, _ = one.spend(8.0, START)
    one.correct(entry, seq, by=-0.5, now=START + 30.0)
    assert one.room(START + 30.0) == 2.5
    assert one.room(START + 60.5) == 10.0
    for amount in (0.1, 0.2, 0.3):
        one.spend(amount, START + 100.0 + 10.0 * amount)
    assert one.spent(START + 200.0) == 0.0


def test_what_was_thought_right_comes_back_in_its_time() -> None:
    """A correction by nothing corrects nothing."""
    one = meter()
    entry, seq, _ = one.spend(8.0, START)
    one.correct(entry, seq, by=0.0, now=START + 0.4)
    assert one.free_at(10.0, START + 1.0) == START + 60.5


@pytest.mark.parametrize("lent", [100.0, None])
def test_there_is_room_to_the_last_bit_or_there_is_none(lent: float | None) -> None:
    """What is as much too large as sums may be off has room, and then it is free at once, whoever keeps the account."""
    own, told = meter(1e9), learned(word(100.0, limit=1e9))
    if lent is None:
        own.spend(1e9 - 100.0, START)
    else:
        own.lend(lent)
    for one in (own, told):
        assert one.has_room(101.0, START)
        assert one.free_at(101.0, START) == START
        assert not one.has_room(101.001, START)
        assert one.free_at(101.001, START) > START


def test_what_is_spent_soon_after_joins_the_latest() -> None:
    """And not what was spent before that."""
    one = meter()
    for at in (0.0, 10.0):
        one.spend(1.0, START + at)
    latest, *_ = one.spend(1.0, START + 20.0)
    assert one.spend(1.0, START + 20.1)[0] is latest


def test_the_same_word_again_is_no_news() -> None:
    """Where nobody knows of which request it speaks, it does not hold for longer."""
    one = learned(word(4.0, reset_s=20.0))
    one.told(word(4.0, reset_s=20.0), at=START + 10.0, seq=0, sent=0.0)
    assert one.room(START + 19.9) == 4.0
    assert one.room(START + 20.0) == 10.0


def test_whether_what_is_allowed_for_counts_is_told() -> None:
    """Some providers count it before it is used."""
    one = meter()
    assert not one.reserves
    one.told(Reading("requests", "requests", 10.0, 60.0, reserves=True), at=START, seq=0, sent=0.0)
    assert one.reserves


@pytest.mark.parametrize("window_s", [0.5, 1.0])
def test_short_windows_are_counted_too(window_s: float) -> None:
    """Some limits are of a second."""
    one = meter(1.0, window_s)
    one.spend(1.0, START)
    assert not one.has_room(1.0, START + 0.99 * window_s)


def test_a_limit_that_others_share_is_ours_as_far_as_it_was_lent() -> None:
    """A part of it may be spent here; who waits for more of it is told to ask again soon."""
    one = meter()
    assert not one.is_shared
    one.lend(4.0)
    assert one.is_shared
    assert one.room(START) == 4.0
    one.spend(4.0, START)
    assert not one.has_room(1.0, START)
    assert one.free_at(1.0, START) == START + 0.05
    assert one.free_at(6.0, START) == START + 0.05
    assert one.free_at(7.0, START) == START + 60.5, "there is no more of it before what was spent comes back"
    one.lend(7.0)
    assert one.room(START) == 3.0
    one.lend(20.0)
    assert one.room(START) == 6.0, "no more than there is"


def test_what_was_spent_is_told_for_the_last_window() -> None:
    """Others who share a limit are told what we have spent of it within the window, and no more."""
    one = meter()
    one.spend(3.0, START)
    one.spend(2.0, START + 30.0)
    assert one.spent(START + 30.0) == 5.0
    assert one.spent(START + 61.0) == 2.0
    assert one.spent(START + 91.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.1, 6.0)), max_size=60), st.sampled_from([1.0, 60.0]))
def test_no_window_ever_holds_more_than_the_limit(steps: list[tuple[float, float]], window_s: float) -> None:
    """Whoever spends only where there is room stays within the limit in every window, wherever it begins."""
    one, now = meter(10.0, window_s), START
    spent: list[tuple[float, float]] = []
    for wait, amount in steps:
        now += wait * window_s / 60.0
        if one.has_room(amount, now):
            one.spend(amount, now)
            spent.append((now, amount))
    for began, _ in spent:
        assert sum(a for at, a in spent if began <= at <= began + window_s) <= 10.0 + 1e-6


@given(
    st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.1, 6.0)), min_size=1, max_size=40),
    st.floats(0.1, 10.0),
    st.floats(0.0, 10.0) | st.none(),
    st.booleans(),
)
def test_when_it_is_free_is_when_there_is_room(
    steps: list[tuple[float, float]], wanted: float, left: float | None, steady: bool
) -> None:
    """`free_at` is the first moment with room for so much: there is room then, and none just before it."""
    one, now, seq, sent = meter(), START, 0, 0.0
    for wait, amount in steps:
        now += wait
        if one.has_room(amount, now):
            _, seq, sent = one.spend(amount, now)
    one.told(word(left, steady=steady), at=now, seq=seq, sent=sent)
    at = one.free_at(wanted, now)
    if at > now + 0.01:
        assert not one.has_room(wanted, at - 0.01)
    assert one.has_room(wanted, at + 1e-6)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 3.0), st.floats(-3.0, 3.0)), max_size=40))
def test_what_is_put_right_adds_up(steps: list[tuple[float, float, float]]) -> None:
    """Within a window, room is the limit less everything that was really used."""
    one, now, used = meter(1e6), START, 0.0
    for wait, amount, by in steps:
        now += wait * 0.2
        entry, seq, _ = one.spend(amount, now)
        one.correct(entry, seq, by=max(by, -amount), now=now)
        used += amount + max(by, -amount)
    assert abs(one.room(now) - (1e6 - used)) < 1e-6
    assert one.room(now + 61.0) == 1e6
