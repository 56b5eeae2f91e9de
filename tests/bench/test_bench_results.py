"""What is told of a comparison, from measurements that are known: no more than they show."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.bench_world import sample, staged
from loops import in_loop
from unbroken.bench.course import Settings
from unbroken.bench.files import document, write_csv, write_json
from unbroken.bench.intervals import Estimate
from unbroken.bench.page import page
from unbroken.bench.samples import FIELDS, Ear, Sample
from unbroken.bench.summary import Result, result_of
from unbroken.bench.tables import tables
from unbroken.bench.verdict import times, usd, verdict, within
from unbroken.testing import ManualClock
from unbroken.types import Delta, Task


def drawn(provider: str, mean_s: float, *, count: int = 40, seed: int = 1, **fields: Any) -> list[Sample]:
    chance = Random(f"{provider}{seed}")
    return [
        sample(provider, block, total_s=mean_s * chance.gammavariate(9.0, 1 / 9.0), **fields) for block in range(count)
    ]


def compared(*samples: list[Sample], **settings: Any) -> Result:
    return result_of(staged({found[0].provider: found for found in samples}, Settings(**settings)))


# ------------------------------------------------------------- what is measured


@in_loop
async def test_an_answer_is_timed_as_it_comes() -> None:
    """What comes together came at the same time, and a rate counts what came after the first words."""
    clock = ManualClock(10.0)
    ear = Ear(clock)
    ear.show([Delta(id="x")])
    clock.advance(0.5)
    ear.show([Delta(text=" one"), Delta(text=" two")])
    clock.advance(0.2)
    ear.show([Delta(text=" six"), Delta(text=" ten")])
    assert (ear.first_at, ear.last_at) == (10.5, 10.7)
    assert ear.rate(4) == pytest.approx(2 / 0.2)


@in_loop
async def test_large_pieces_are_weighed_by_their_length() -> None:
    """A provider that sends sentences is not taken for one that sends a token at a time."""
    clock = ManualClock()
    ear = Ear(clock)
    ear.show([Delta(text="x" * 10)])
    clock.advance(1.0)
    ear.show([Delta(text="y" * 90)])
    assert ear.rate(100) == pytest.approx(90.0)


@in_loop
async def test_what_comes_at_once_has_no_rate() -> None:
    """From one moment nothing can be said of tokens per second; nor from silence."""
    clock = ManualClock()
    ear = Ear(clock)
    assert ear.rate(5) is None
    ear.show([Delta(text="all of it")])
    clock.advance(0.001)
    ear.show([Delta(text=" and more")])
    assert ear.rate(5) is None


# ------------------------------------------------------------- what is concluded


def test_a_difference_is_told_with_its_interval() -> None:
    """The sentence names both, how much, and how sure that is."""
    result = compared(drawn("a", 1.0), drawn("b", 2.0))
    (contrast,) = result.contrasts
    assert (contrast.better, contrast.worse, contrast.shown, contrast.pairs) == ("a", "b", True, 40)
    assert contrast.factor is not None and contrast.factor.holds(2.0)
    assert contrast.factor.value == pytest.approx(contrast.means[1] / contrast.means[0])
    assert contrast.difference.value == pytest.approx(contrast.means[1] - contrast.means[0])
    first = verdict(result)[0]
    assert first.startswith(f"a is {times(contrast.factor.value)} faster than b (95 %: ")


def test_equals_are_not_told_apart() -> None:
    """Of forty comparisons of equals about two claim a difference, and no more."""
    claims = sum(
        compared(drawn("a", 1.0, seed=seed, count=25), drawn("b", 1.0, seed=seed, count=25)).contrasts[0].shown
        for seed in range(40)
    )
    assert claims <= 6


def test_no_difference_is_told_as_no_more_than_that() -> None:
    """Where the interval leaves doubt, the sentence says how large a difference could be."""
    said = verdict(compared(drawn("a", 1.0, count=12), drawn("b", 1.01, count=12)))
    assert [sentence.startswith("No difference was shown in") for sentence in said[:2]] == [True, True]
    assert "as a factor, 95 %: " in said[1]
    assert "it could still be up to" in said[0]


def test_a_few_answers_show_nothing() -> None:
    """With less than eight pairs no speed is compared, however clear it looks."""
    result = compared(drawn("a", 1.0, count=7), drawn("b", 9.0, count=7))
    assert result.contrasts == ()
    assert any(sentence.startswith("Too few prompts were answered by both") for sentence in verdict(result))


def test_only_what_both_answered_is_compared() -> None:
    """A question that one of two failed at makes neither look better."""
    slow = drawn("b", 2.0)
    for at in range(0, 40, 4):
        slow[at] = sample("b", at, outcome="server", total_s=0.001)
    (contrast,) = compared(drawn("a", 1.0), slow).contrasts
    assert contrast.pairs == 30 and contrast.shown


def test_several_are_compared_more_carefully() -> None:
    """With more pairs each interval is wider, and the sentences are about whoever is ahead."""
    two = compared(drawn("a", 1.0), drawn("b", 2.0))
    four = compared(*(drawn(name, mean_s) for name, mean_s in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True)))
    wide, narrow = (
        next(found.factor for found in result.contrasts if (found.better, found.worse) == ("a", "b"))
        for result in (four, two)
    )
    assert wide is not None and narrow is not None
    assert wide.low is not None and narrow.low is not None and wide.high is not None and narrow.high is not None
    assert wide.high - wide.low > narrow.high - narrow.low
    said = [sentence for sentence in verdict(four) if "faster than" in sentence]
    assert [sentence.split()[0] for sentence in said] == ["a", "a", "a"]
    assert len(four.contrasts) == 6


def test_costs_that_are_nothing() -> None:
    """Who costs nothing is cheaper by dollars and by no factor; where no price is known none is compared."""
    free = compared(drawn("a", 1.0, cost_usd=0.0), drawn("b", 1.0, cost_usd=0.002))
    assert any("b costs 0.002 USD more for a request than a" in sentence for sentence in verdict(free))
    unknown = compared(drawn("a", 1.0), drawn("b", 1.0, cost_usd=0.002))
    assert "Costs are not compared: the price of at least one is not known." in verdict(unknown)


def test_one_alone() -> None:
    """A single provider is told of without being compared."""
    said = verdict(compared(drawn("a", 1.0)))
    assert said[0] == "a answered 40 of 40 (95 %: 91.2 % to 100 %)."
    assert "on average" in said[1]


def test_nothing_measured() -> None:
    """Where nothing is known nothing is said."""
    result = result_of(staged({"a": [], "b": []}))
    assert verdict(result) == ["Nothing was measured."]
    assert "Nothing was measured." in page(result)


def test_warm_up_counts_for_nothing_but_money() -> None:
    """What was asked to warm up is paid for, and is in no other number."""
    warm = [sample("a", 99, round=0, total_s=50.0, cost_usd=1.0)]
    (found,) = compared([*warm, *drawn("a", 1.0, cost_usd=0.5)]).summaries
    assert found.requests == 40
    assert found.spent_usd == pytest.approx(21.0)
    assert found.spreads["total_s"].mean.value < 2.0


@pytest.mark.parametrize(
    ("estimate", "says"),
    [
        (Estimate(1.0), "too few to say how sure"),
        (Estimate(1.0, 0.5), "95 %: at least 0.50x"),
        (Estimate(1.0, None, 2.0), "95 %: at most 2.00x"),
        (Estimate(1.0, 0.5, 2.0), "95 %: 0.50x to 2.00x"),
    ],
)
def test_open_ends(estimate: Estimate, says: str) -> None:
    """An end that the data do not show is not made up."""
    assert within(estimate, times) == says


def test_small_amounts() -> None:
    """Dollars keep three digits, however few they are."""
    assert [usd(value) for value in (0.0, 12.5, 0.00123, 0.0000456)] == [
        "0 USD", "12.5 USD", "0.00123 USD", "4.56e-05 USD",
    ]  # fmt: skip


# ------------------------------------------------------------- files and pages


class Page(HTMLParser):
    """Tags, whether all were closed, and what a browser would fetch."""

    VOID = frozenset(("meta", "br", "img", "link", "input", "hr"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [v or "" for k, v in attrs if k in {"src", "href"} or k == "xlink:href"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_everything() -> None:
    """Verdict, tables, picture and raw numbers are in one file that fetches nothing and follows light and dark."""
    evil = drawn("<b>x</b>", 2.0, prompt="<script>alert(1)</script>")
    result = compared(drawn("a", 1.0), evil)
    text = page(result)
    found = Page(text)
    assert found.open == []
    assert all(address.startswith("#") for address in found.fetched)
    assert "script" not in found.tags and {"svg", "table", "details"} <= found.tags
    assert "color-scheme: light dark" in text and "currentColor" in text
    assert text.count("<tr>") >= len(result.samples)
    assert page(result) == text


def test_files_hold_every_request(tmp_path: Path) -> None:
    """CSV has a row and JSON an object for each; text of others is no formula."""
    failed = [sample("a", 50, outcome="server", message="=1+1", total_s=0.1, round=1)]
    result = compared([*drawn("a", 1.0), *failed], drawn("b", 2.0))
    write_csv(result, tmp_path / "b.csv")
    write_json(result, tmp_path / "b.json")
    with (tmp_path / "b.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS and len(rows) == 81
    assert [row["message"] for row in rows if row["outcome"] == "server"] == ["'=1+1"]
    told = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(document(result)))
    assert len(told["requests"]) == 81 and told["verdict"] == verdict(result)
    mean = told["providers"][0]["spreads"]["total_s"]["mean"]
    assert mean["low"] < mean["value"] < mean["high"]


def test_tables_for_each_kind_of_work() -> None:
    """Chats are told with first token and rate, other work by its time alone."""
    chat = compared(drawn("a", 1.0, first_s=0.1, tokens_per_s=50.0), drawn("b", 1.0, first_s=0.2, tokens_per_s=50.0))
    titles = [table.title for table in tables(chat)]
    assert titles[:4] == ["Answers", "Whole answer, seconds", "First token, seconds", "Tokens per second"]
    pictures = compared(drawn("a", 1.0), task=Task.IMAGE)
    assert [measure.key for measure in pictures.measures] == ["total_s"]
    for table in tables(chat):
        assert all(len(row) == len(table.columns) for row in table.rows)
