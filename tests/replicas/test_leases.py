"""Parts of limits: taken ahead, never more than there is together, and what becomes of them without anybody to ask."""

from __future__ import annotations

from random import Random

import pytest

from unbroken.core.limits import Pool
from unbroken.core.meters import Meter
from unbroken.core.spend import Account
from unbroken.policy import SpendLimit
from unbroken.replicas.backplane import Grant, Hold, Switch
from unbroken.replicas.commons import ALIVE_S, Commons
from unbroken.replicas.leases import Claim, Leases
from unbroken.types import Allowance

MINUTE_S = 60.0


class Spender:
    """One replica that spends from a limit of requests a minute."""

    def __init__(self, name: str, commons: Commons, limit: float) -> None:
        self.name, self.commons, self.meter = name, commons, Meter("requests", limit, window_s=MINUTE_S)
        self.meter.lend(0.0)
        self.leases = Leases(None)
        self.spent: list[float] = []

    def claim(self, now: float) -> Claim:
        def tell(part: float, elsewhere: float) -> None:
            self.meter.lend(part)

        return Claim(
            name="x", limit=self.meter.limit, spent=self.meter.spent(now), keep_s=MINUTE_S, tell=tell, whole=True,
            least=1.0,
        )  # fmt: skip

    def asks(self, now: float, *, short: bool = False) -> None:
        """A round."""
        asked = self.leases.holds([self.claim(now)], now=now, short=short)
        grants, replicas = self.commons.hold(self.name, [hold for _, hold in asked], now=now)
        self.leases.granted(asked, grants, replicas=replicas)

    def spends(self, now: float) -> bool:
        """One request, if there is room."""
        if not self.meter.has_room(1.0, now):
            return False
        self.meter.spend(1.0, now)
        self.spent.append(now)
        return True


@pytest.mark.parametrize("seed", range(20))
def test_together_they_stay_within_every_window(seed: int) -> None:
    """Whoever asks when, dies or comes anew: in no minute do all replicas spend more than the limit."""
    draw, commons, limit = Random(seed), Commons(), 40.0
    crew = [Spender(f"r{n}", commons, limit) for n in range(4)]
    spent: list[float] = []
    at = 1_000.0
    for step in range(3_000):
        at += draw.expovariate(15.0)
        one = draw.choice(crew)
        if draw.random() < 0.5:
            one.asks(at, short=draw.random() < 0.2)
        spent += [at for _ in range(draw.randrange(4)) if one.spends(at)]
        if step % 500 == 250:  # killed, without a word; its place is taken by another
            crew[draw.randrange(4)] = Spender(f"new {step}", commons, limit)
    assert len(spent) > 80, "and they do spend"
    for begin in spent:
        assert sum(begin <= one < begin + MINUTE_S for one in spent) <= limit


def test_alone_it_has_the_whole_limit() -> None:
    """Nothing is lost where nobody else asks: all of a limit can be spent within some rounds."""
    one = Spender("one", Commons(), 100.0)
    at = 0.0
    while at < 30.0:
        one.asks(at)
        one.spends(at) and one.spends(at)
        at += 0.1
    assert len(one.spent) == 100


@pytest.mark.parametrize(("keep_s", "kept"), [(MINUTE_S, 10.0), (86_400.0, 2.0)])
def test_of_the_dead_is_held_what_they_may_have_spent(keep_s: float, kept: float) -> None:
    """All of what comes back within the hour; of a day's limit what they had told, as the rest would be lost."""
    commons = Commons()
    commons.hold("dead", [Hold("x", 2.0, 10.0, 10.0, keep_s)], now=0.0)
    (grant,), _ = commons.hold("one", [Hold("x", 0.0, 10.0, 10.0, keep_s)], now=1.0)
    assert grant == Grant(0.0, 10.0, 2.0)
    (grant,), replicas = commons.hold("one", [Hold("x", 0.0, 10.0, 10.0, keep_s)], now=1.0 + ALIVE_S)
    assert grant == Grant(10.0 - kept, kept, 2.0) and replicas == 1


class Told:
    """A claim of which one sees what it is told."""

    def __init__(self, *, limit: float = 100.0, waits: bool = True, keep_s: float = MINUTE_S) -> None:
        self.part, self.elsewhere, self.limit, self.waits, self.keep_s = -1.0, -1.0, limit, waits, keep_s

    def __call__(self, spent: float = 0.0) -> Claim:
        def tell(part: float, elsewhere: float) -> None:
            self.part, self.elsewhere = part, elsewhere

        return Claim(
            name="x", limit=self.limit, spent=spent, keep_s=self.keep_s, tell=tell, waits=self.waits, least=1.0
        )


def test_what_has_not_changed_is_not_asked_for_again() -> None:
    """Until half a minute has passed, in case somebody has forgotten it."""
    leases, told = Leases(None), Told()
    asked = leases.holds([told()], now=0.0)
    assert leases.granted(asked, [Grant(25.0, 0.0, 0.0)], replicas=1) and told.part == 25.0
    assert leases.holds([told()], now=1.0) == []
    assert len(leases.holds([told()], now=31.0)) == 1
    assert leases.holds([told(3.0)], now=32.0)[0][1].wanted == 28.0


def test_more_is_asked_for_where_it_is_spent_fast() -> None:
    """Three times of what went since the last round; and all that there is where somebody waits."""
    leases, told = Leases(None), Told()
    leases.granted(leases.holds([told()], now=0.0), [Grant(25.0, 0.0, 0.0)], replicas=1)
    assert leases.holds([told(30.0)], now=0.1)[0][1].wanted == 100.0
    assert leases.holds([told(30.0)], now=0.2)[0][1].wanted == 75.0
    assert leases.holds([told(30.0)], now=0.3, short=True)[0][1].wanted == 100.0


def test_limits_that_turn_away_may_be_spent_as_far_as_others_do_not_hold_them() -> None:
    """Nobody is turned away while there is room; what others spent is told besides."""
    leases, told = Leases(None), Told(waits=False)
    asked = leases.holds([told()], now=0.0)
    leases.granted(asked, [Grant(0.0, 60.0, 55.0)], replicas=3)
    assert (told.part, told.elsewhere) == (40.0, 55.0)


def test_alone_each_has_its_share() -> None:
    """An equal part of a limit that comes back soon; of one that does not, of what was left of it."""
    minute, day = Told(), Told(keep_s=86_400.0)
    for told in (minute, day):
        leases = Leases(None)
        asked = leases.holds([told(10.0)], now=0.0)
        leases.granted(asked, [Grant(20.0, 50.0, 40.0)], replicas=4)
        leases.alone([told(10.0)])
    assert minute.part == 25.0 and day.part == 10.0 + 40.0 / 4
    assert len(leases.holds([minute(10.0)], now=0.1)) == 1, "and it is asked for again at once when somebody is there"
    none = Leases(0.0)
    none.alone([minute(10.0)])
    assert minute.part == 0.0


def test_who_comes_back_is_careful_at_first() -> None:
    """The others may not have told yet what they have spent: no more than one's share is asked for until they have."""
    leases, told = Leases(0.25), Told()
    leases.alone([told(40.0)])
    assert leases.holds([told(10.0)], now=0.0, short=True)[0][1].wanted == 25.0
    assert leases.holds([told(30.0)], now=1.0, short=True)[0][1].wanted == 30.0
    assert leases.holds([told(30.0)], now=3.0, short=True)[0][1].wanted == 100.0


@pytest.mark.parametrize("waits", [True, False])
def test_a_store_that_flaps_gives_nobody_more(waits: bool) -> None:
    """What is left is divided once, however often the store goes before it has answered, by as many as there were."""
    leases, told = Leases(None), Told(waits=waits, keep_s=86_400.0)
    leases.granted(leases.holds([told(10.0)], now=0.0), [Grant(20.0, 50.0, 40.0)], replicas=2)
    for spent in (10.0, 30.0, 30.0):
        leases.alone([told(spent)])
        assert told.part == 10.0 + 40.0 / 2
    leases.granted(leases.holds([told(30.0)], now=1.0), [Grant(30.0, 0.0, 0.0)], replicas=1)  # it has forgotten all
    leases.alone([told(30.0)])
    assert told.part == 30.0


@pytest.mark.parametrize("waits", [True, False])
def test_a_store_that_has_forgotten_everything_gives_nobody_more(waits: bool) -> None:
    """Until the others had time to tell what they have spent, it stays at what there was without it."""
    leases, told = Leases(None), Told(waits=waits, keep_s=86_400.0)
    leases.granted(leases.holds([told(10.0)], now=0.0), [Grant(20.0, 80.0, 80.0)], replicas=2)
    leases.alone([told(10.0)])
    ((_, hold),) = leases.holds([told(12.0)], now=1.0, short=True)
    assert told.part == 15.0 and hold.wanted <= 15.0
    leases.granted([(told(12.0), hold)], [Grant(hold.wanted, 0.0, 0.0)], replicas=1)
    assert told.part <= 15.0
    asked = leases.holds([told(12.0)], now=4.0)
    leases.granted(asked, [Grant(13.0, 80.0, 80.0)], replicas=2)
    assert told.part == (13.0 if waits else 20.0), "and then it is as it was"


def test_goodbye_gives_back_what_was_held_ahead() -> None:
    """What was spent stays held, or a successor would spend it again."""
    assert Leases(None).goodbye([Told()(7.0)]) == [Hold("x", 7.0, 7.0, 100.0, MINUTE_S)]


def test_what_nobody_has_answered_is_asked_for_again() -> None:
    """A round that went wrong is as good as none."""
    leases, told = Leases(None), Told()
    assert leases.holds([told()], now=0.0)[0][1] == leases.holds([told()], now=0.1)[0][1]


def test_what_is_claimed_no_more_is_forgotten() -> None:
    """A limit that left the configuration while the store was asked is nobody's affair."""
    leases, told = Leases(None), Told()
    asked = leases.holds([told()], now=0.0)
    leases.holds([], now=0.1)
    assert not leases.granted(asked, [Grant(25.0, 0.0, 0.0)], replicas=1) and told.part == -1.0


# --------------------------------------------------------------------------- in the core


def test_a_part_of_a_limit_is_all_there_is_to_spend() -> None:
    """Until more is lent, which may be any moment as long as the limit itself is not used up."""
    meter = Meter("requests", 10.0, window_s=MINUTE_S)
    assert not meter.is_shared
    meter.lend(2.0)
    assert meter.is_shared and meter.room(0.0) == 2.0
    for _ in range(2):
        meter.spend(1.0, 0.0)
    assert not meter.has_room(1.0, 1.0) and meter.free_at(1.0, 1.0) == pytest.approx(1.05)
    meter.lend(10.0)
    assert meter.has_room(8.0, 1.0) and meter.spent(1.0) == 2.0
    meter.spend(8.0, 1.0)
    assert meter.free_at(1.0, 2.0) > 50.0 and meter.spent(100.0) == 0.0


def test_a_part_of_what_may_be_under_way_is_whole() -> None:
    """Two and a half requests at once are two."""
    pool = Pool(Allowance(concurrent_max=8))
    pool.lend(2.5)
    assert pool.at_once == 2
    pool.lend(99.0)
    assert pool.at_once == 8
    unlimited = Pool(Allowance(requests_per_min=3))
    unlimited.lend(1.0)
    assert unlimited.at_once is None and [name for name, _ in unlimited.configured] == ["requests in 60 s"]


def test_a_part_of_a_budget_is_all_that_is_left() -> None:
    """Of the day and of the month, whichever leaves less."""
    account = Account(SpendLimit(name="b", usd_per_day=10.0, usd_per_month=100.0))
    account.spent_usd, account.month_usd = 1.0, 20.0
    account.share_day(4.0, 6.0)
    assert account.left_usd == 3.0 and account.elsewhere_usd == 6.0 and account.affords(3.0)
    account.share_month(21.0, 70.0)
    assert account.left_usd == 1.0 and not account.affords(1.5)


def test_values_make_room_for_newer_ones() -> None:
    """The oldest go first, one that takes too much is not taken, and each is there as long as was said."""
    commons = Commons(value_bytes_max=100)
    for n in range(6):
        commons.put(f"{n}", b"x" * 20, keep_s=10.0, now=float(n))
    commons.put("large", b"x" * 26, keep_s=10.0, now=6.0)
    assert commons.get("0", 6.0) is None and commons.get("large", 6.0) is None
    assert commons.get("5", 6.0) == (b"x" * 20, 1.0) and commons.get("5", 15.0) is None


def test_there_is_an_end_to_what_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """More switches than anybody turns are not kept; those that are can still be turned."""
    monkeypatch.setattr("unbroken.replicas.commons.SWITCHES_MAX", 1)
    commons = Commons()
    assert commons.keep("a", Switch(1.0, b"on"))
    assert not commons.keep("b", Switch(1.0, b"on"))
    assert commons.keep("a", Switch(2.0, b"off")) and commons.switches == {"a": Switch(2.0, b"off")}
