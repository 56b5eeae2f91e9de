from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.splice import OVERLAP_CHARS_MAX, Shown, Splicer, way_to_continue
from unbroken.failures import Failure, FailureKind
from unbroken.types import Continuation, Delta, Finish, Mode, Request, Target, ToolFragment, Usage, anchor_of

TRUTH = (
    "Bridges sing because the wind sheds eddies from their cables at a steady pace.\n\n"
    "When that pace meets the pace at which a deck likes to sway, each push comes at the right moment; "
    "the motion grows, and what was a murmur becomes a note. Engineers therefore add dampers, fairings "
    "and holes, none of which please the wind.\n\n"
    "Soldiers break step on narrow spans for a kindred reason, although a crowd of strollers once set a new "
    "footbridge rocking without any drill: each adjusted his gait to the tilt, and so all fell in with it. "
    "The remedy was ninety dampers under the walkway and two years of patience.\n"
    "- Cables: whirls of air, high notes.\n- Decks: twist and heave, low ones.\n"
    "- People: sideways, about one a second.\n"
    "What sounds like a complaint is only arithmetic; but it is arithmetic that an entire town can hear at night, "
    "and whoever has lain awake to it does not forget the tune."
)
CALL = (ToolFragment(index=0, id="c", name="look"),)


def target(prefix: str = "none", model: str = "m") -> Target:
    return Target(name="t", provider="p", model=model, prefix=prefix)


def shown(text: str, **more: object) -> Shown:
    """What a caller has seen."""
    seen = Shown()
    seen.add(Delta(text=text, id="first", model="m", **more))  # type: ignore[arg-type]
    return seen


def spliced(mode: Mode, seen: str, *pieces: str, finish: bool = True) -> str | Failure:
    """What a caller sees in the end of a stream that goes on with these pieces."""
    splicer = Splicer(Continuation(mode, seen), shown(seen))
    deltas = [Delta(text=piece) for piece in pieces]
    out: list[Delta] = []
    for delta in [*deltas, Delta(finish=Finish.STOP)] if finish else deltas:
        step = splicer.feed([delta])
        if isinstance(step, Failure):
            return step
        out += step
    last = splicer.close()
    return last if isinstance(last, Failure) else seen + "".join(delta.text for delta in [*out, *last])


# ------------------------------------------------------------------- whether and how


def test_what_was_shown_is_remembered() -> None:
    """The words, the number of characters, the identity of the stream, and what else there was."""
    seen = shown("Hel")
    seen.add(Delta(text="lo", id="second", model="n"))
    assert (seen.text, seen.chars, seen.id, seen.model) == ("Hello", 5, "first", "m")
    assert seen.anything
    assert not Shown().anything
    for more in (Delta(reasoning="x"), Delta(media=1), Delta(refusal="x"), Delta(tool_calls=CALL)):
        other = Shown()
        other.add(more)
        assert other.anything
        assert not other.text


@pytest.mark.parametrize(
    ("seen", "request_", "prefix", "expected"),
    [
        (shown("Hello"), {}, "assistant", Mode.PREFIX),
        (shown("Hello"), {}, "flag", Mode.PREFIX),
        (shown("Hello"), {}, "none", Mode.ASK),
        (shown("Hello"), {"temperature": 0}, "none", Mode.RESTART),
        (shown("Hello"), {"temperature": 0}, "assistant", Mode.PREFIX),
        (shown("", reasoning="hm"), {}, "assistant", Mode.RESTART),
        (shown('{"a":'), {"needs": frozenset({"schema"})}, "assistant", Mode.PREFIX),
        (shown('{"a":'), {"needs": frozenset({"schema"})}, "none", None),
        (shown("Hello"), {"choices": 2}, "assistant", None),
        (shown("Hello", tool_calls=CALL), {}, "assistant", None),
        (shown("Hello", media=1), {}, "assistant", None),
        (shown("Hello", refusal="no"), {}, "assistant", None),
    ],
)
def test_how_a_target_may_go_on(seen: Shown, request_: dict[str, object], prefix: str, expected: Mode | None) -> None:
    """Only where it is honest, and in the surest way that the target knows."""
    wish = Request(model="auto", **request_)  # type: ignore[arg-type]
    way = way_to_continue(wish, target(prefix), shown=seen)
    assert (way.mode if way else None) is expected
    assert way is None or way.text == seen.text


def test_a_refused_prefix_is_not_offered_again() -> None:
    """The target is asked in words instead."""
    way = way_to_continue(Request(model="auto"), target("assistant"), shown=shown("Hello"), prefix=False)
    assert way == Continuation(Mode.ASK, "Hello")


def test_another_model_does_not_say_the_same_again() -> None:
    """Even at temperature nought a restart is only hoped for from the same model."""
    way = way_to_continue(Request(model="auto", temperature=0), target(model="other"), shown=shown("Hello"))
    assert way == Continuation(Mode.ASK, "Hello")


# ------------------------------------------------------------------- the joint

CUTS = st.integers(1, len(TRUTH) - 1)


def pieces_of(text: str, data: st.DataObject) -> list[str]:
    """The text in pieces of any sizes."""
    out = []
    while text:
        size = data.draw(st.integers(1, max(1, min(len(text), 60))))
        out.append(text[:size])
        text = text[size:]
    return out


@given(CUTS, st.sampled_from(list(Mode)), st.data())
def test_whoever_begins_again_is_joined_anywhere(at: int, mode: Mode, data: st.DataObject) -> None:
    """Every word once, wherever it broke and however the pieces come, in every mode."""
    assert spliced(mode, TRUTH[:at], *pieces_of(TRUTH, data)) == TRUTH


@given(CUTS, st.data(), st.booleans())
def test_whoever_carries_on_is_joined_anywhere(at: int, data: st.DataObject, finish: bool) -> None:
    """After a prefix the rest simply follows."""
    assert spliced(Mode.PREFIX, TRUTH[:at], *pieces_of(TRUTH[at:], data), finish=finish) == TRUTH


@given(CUTS, st.integers(12, 80), st.sampled_from([Mode.PREFIX, Mode.ASK]), st.data())
def test_last_words_that_are_said_again_are_left_out(at: int, again: int, mode: Mode, data: st.DataObject) -> None:
    """Twelve characters or more that repeat the end are no coincidence."""
    start = max(0, at - again)
    seen = TRUTH[:at]
    if at - start < 12:
        start = 0
    assert spliced(mode, seen, *pieces_of(TRUTH[start:], data)) == TRUTH


@given(CUTS, st.sampled_from(["", " ", "\n\n", "Of course. ", 'Here is the rest: "']), st.data())
def test_whoever_takes_up_the_anchor_is_joined_anywhere(at: int, preface: str, data: st.DataObject) -> None:
    """After a preface that is swallowed, the anchor is found and the rest follows, white space and all."""
    seen = TRUTH[:at]
    anchor = anchor_of(seen)
    if len(anchor) < 12:
        preface = ""
    start = seen.rindex(anchor)
    assert spliced(Mode.ASK, seen, *pieces_of(preface + TRUTH[start:], data)) == TRUTH


@pytest.mark.parametrize(
    ("again", "whole"), [(12, "abcdefghijklmnop, and on"), (11, "abcdefghijklmnopfghijklmnop, and on")]
)
def test_twelve_characters_are_no_coincidence(again: int, whole: str) -> None:
    """Fewer that repeat the end may be meant."""
    seen = "abcdefghijklmnop"
    assert spliced(Mode.PREFIX, seen, seen[-again:] + ", and on") == whole
    assert spliced(Mode.PREFIX, seen, seen[-again:]) == whole.removesuffix(", and on")


@pytest.mark.parametrize(("preface_chars", "joins"), [(399, True), (400, True), (401, False)])
def test_a_preface_has_four_hundred_characters_at_most(preface_chars: int, joins: bool) -> None:
    """Whoever talks for longer before he takes up the anchor talks of something else."""
    seen = "It was the last of many days at sea."
    answer = spliced(Mode.ASK, seen, "." * preface_chars + seen + " Then")
    assert (answer == seen + " Then") is joins
    assert isinstance(answer, Failure) is not joins


def test_what_is_foreign_is_known_by_its_length() -> None:
    """As soon as there is no place left for the anchor, and for the white space that was shown behind it."""
    for gap in ("", "\n\n"):
        seen = "It was the last of many days at sea." + gap
        anchor = anchor_of(seen)
        assert fed_until_failure(Mode.ASK, seen, "." * 600) == 400 + len(anchor) + len(gap) + 1


@pytest.mark.parametrize(("blanks", "joins"), [(8, True), (9, False)])
def test_few_blanks_may_precede_a_short_beginning(blanks: int, joins: bool) -> None:
    """An anchor of a few characters stands at the start, or nearly."""
    assert (spliced(Mode.ASK, "Yes", "\n" * blanks + "Yes, but") == "Yes, but") is joins


@pytest.mark.parametrize(("seen", "joins"), [("abcdefghijkl", True), ("abcdefghijk", False)])
def test_twelve_characters_are_found_among_other_words(seen: str, joins: bool) -> None:
    """A shorter beginning is not."""
    assert (spliced(Mode.ASK, seen, "Of course: ", seen, " and so on") == seen + " and so on") is joins


def test_a_paragraph_that_was_shown_is_not_shown_again() -> None:
    """However its line breaks come; a last one alone is the answer's own."""
    assert spliced(Mode.PREFIX, "One\n\n", "\n", "\nTwo") == "One\n\nTwo"
    assert spliced(Mode.PREFIX, "One\n\n", "\n") == "One\n\n\n"


def test_what_is_said_again_may_have_been_four_hundred_characters() -> None:
    """Longer repetitions are found by their beginning only where that is the whole answer."""
    seen = "".join(f"{number:03} " for number in range(300))
    for size, joined in ((400, True), (404, False)):
        answer = spliced(Mode.PREFIX, seen, seen[-size:] + "end")
        assert (answer == seen + "end") is joined


@pytest.mark.parametrize("after", ["the end", " the end", "\nthe end"])
def test_white_space_around_the_joint_is_not_doubled(after: str) -> None:
    """What was shown ended in a blank: the rest begins with its word, whatever white space precedes it."""
    assert spliced(Mode.ASK, "And this is at long last ", "And this is at long last" + after) == (
        "And this is at long last the end"
    )
    assert spliced(Mode.ASK, "And this is at long last ", "this is at long last", " ") == "And this is at long last "
    seen = TRUTH[: TRUTH.index("When")]
    for pieces in (["\n", "\nWhen"], ["\n\nWhen"], ["\nWhen"], [" ", "When"], ["When"]):
        assert spliced(Mode.ASK, seen, anchor_of(seen), *pieces) == seen + "When"
    assert spliced(Mode.ASK, seen, anchor_of(seen), "\n") == seen


def test_what_has_joined_is_shown_at_once() -> None:
    """A word after the anchor need not wait for the end, though the white space before it is not what was shown."""
    seen = TRUTH[: TRUTH.index("When")]
    splicer = Splicer(Continuation(Mode.ASK, seen), shown(seen))
    joined = splicer.feed([Delta(text=anchor_of(seen) + "\nWhen")])
    assert isinstance(joined, list)
    assert [delta.text for delta in joined] == ["When"]


@pytest.mark.parametrize("pieces", [["Hello"], ["\n\nHello"], ["\n", "\nHel", "lo"]])
def test_blanks_alone_are_followed_by_anything(pieces: list[str]) -> None:
    """Where only white space was shown, no word can be doubled."""
    assert spliced(Mode.ASK, "\n\n", *pieces) == "\n\nHello"


def test_a_short_beginning_is_only_found_at_the_start() -> None:
    """Few characters occur anywhere: they count as taken up only where nothing precedes them."""
    assert spliced(Mode.ASK, "Yes, ", "\nYes, but") == "Yes, but"
    assert isinstance(spliced(Mode.ASK, "Yes", "Well, I said: Yes, of course"), Failure)


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.RESTART])
@pytest.mark.parametrize("answer", ["", "Bridges", TRUTH[:30], "Potatoes are rich in starch."])
def test_an_answer_that_ends_before_the_joint_has_diverged(mode: Mode, answer: str) -> None:
    """With a finish or without one, nothing of it is shown."""
    for finish in (True, False):
        failure = spliced(mode, TRUTH[:100], *([answer] if answer else []), finish=finish)
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.DIVERGED


@pytest.mark.parametrize("rest", [[], [" "], ["\n"]])
def test_after_a_prefix_there_may_be_nothing_left_to_say(rest: list[str]) -> None:
    """The break came after the last word."""
    assert spliced(Mode.PREFIX, TRUTH, *rest) == TRUTH + "".join(rest)
    assert spliced(Mode.PREFIX, TRUTH, *rest, finish=False) == TRUTH + "".join(rest)


def test_nothing_left_to_say_after_the_anchor() -> None:
    """A target that only repeats the anchor says that the answer was complete."""
    assert spliced(Mode.ASK, TRUTH, anchor_of(TRUTH)) == TRUTH
    assert spliced(Mode.RESTART, TRUTH, TRUTH) == TRUTH


def fed_until_failure(mode: Mode, seen: str, answer: str) -> int | None:
    """How many characters of an answer it takes to see that it does not join."""
    splicer = Splicer(Continuation(mode, seen), shown(seen))
    for number, letter in enumerate(answer, start=1):
        if isinstance(splicer.feed([Delta(text=letter)]), Failure):
            return number
    return None


def test_what_cannot_join_is_not_listened_to_for_long() -> None:
    """However much was shown, a foreign answer is known by its first few hundred characters."""
    seen = " ".join(f"Bridge {number} sings." for number in range(500))
    foreign = "Potatoes are rich in starch and have been grown for eight thousand years. " * 100
    asked = fed_until_failure(Mode.ASK, seen, foreign)
    assert asked is not None
    assert asked <= OVERLAP_CHARS_MAX + 100
    assert fed_until_failure(Mode.RESTART, seen, foreign) == 1
    for mode in (Mode.ASK, Mode.RESTART):
        assert fed_until_failure(mode, seen, seen[:2_000] + "!" + foreign) == 2_001


# ------------------------------------------------------------------- what else a delta holds


def test_deltas_are_made_to_belong_to_the_stream() -> None:
    """The id of the first stream, no bytes of the second, no second thoughts; usage and the end pass."""
    splicer = Splicer(Continuation(Mode.PREFIX, "One, "), shown("One, "))
    usage = Usage(output_tokens=3)
    given_ = [
        Delta(reasoning="hm", id="second", raw=b"1"),
        Delta(id="second", raw=b"2"),
        Delta(usage=usage, id="second"),
        Delta(text="two", reasoning="hm", id="second", raw=b"3", format="f"),
        Delta(text=" three", id="second", raw=b"4"),
        Delta(finish=Finish.LENGTH, raw_finish="length", raw=b"5"),
    ]
    assert splicer.feed(given_) == [
        Delta(usage=usage, id="first"),
        Delta(text="two", id="first", format="f"),
        Delta(text=" three", id="first"),
        Delta(finish=Finish.LENGTH, raw_finish="length", id="first"),
    ]


@pytest.mark.parametrize(
    ("seen", "rest", "whole"),
    [
        ("One, ", " two", "One, two"),
        ("One, ", "two", "One, two"),
        ("One,", " two", "One, two"),
        ("A\n", "\nB", "A\n\nB"),
    ],
)
def test_a_blank_that_was_shown_is_not_shown_again(seen: str, rest: str, whole: str) -> None:
    """A format that takes no prefix ending in a blank makes its model begin with that blank; paragraphs stay."""
    assert spliced(Mode.PREFIX, seen, rest) == whole


def test_a_stream_without_an_id_takes_the_next_ones() -> None:
    """Formats without ids are no trouble."""
    splicer = Splicer(Continuation(Mode.RESTART, ""), Shown())
    assert splicer.feed([Delta(text="x", id="second")]) == [Delta(text="x", id="second")]
    assert splicer.close() == []


@pytest.mark.parametrize("mode", [Mode.PREFIX, Mode.ASK])
@pytest.mark.parametrize("before", [[], ["look that up."]])
def test_a_tool_call_may_follow_what_was_shown(mode: Mode, before: list[str]) -> None:
    """At once, or after the last words were said again."""
    splicer = Splicer(Continuation(mode, "Let me look that up."), shown("Let me look that up."))
    deltas = [*(Delta(text=piece) for piece in before), Delta(tool_calls=CALL), Delta(finish=Finish.TOOL_CALLS)]
    out = splicer.feed(deltas)
    assert not isinstance(out, Failure)
    assert [delta.text for delta in out] == ["", ""]
    assert out[0].tool_calls == CALL
    assert splicer.close() == []


@pytest.mark.parametrize(
    ("mode", "pieces"), [(Mode.RESTART, []), (Mode.RESTART, ["Let me"]), (Mode.ASK, ["Let me"]), (Mode.ASK, ["Hm."])]
)
def test_a_tool_call_in_the_middle_of_what_was_shown_has_diverged(mode: Mode, pieces: list[str]) -> None:
    """A target that calls before it has said what was shown answers something else."""
    splicer = Splicer(Continuation(mode, "Let me look that up."), shown("Let me look that up."))
    deltas = [*(Delta(text=piece) for piece in pieces), Delta(tool_calls=CALL)]
    assert isinstance(splicer.feed(deltas), Failure)


@pytest.mark.parametrize("delta", [Delta(refusal="I cannot"), Delta(media=1)])
def test_a_refusal_or_a_picture_does_not_continue_words(delta: Delta) -> None:
    """Foreign matter is not shown behind somebody else's sentence."""
    splicer = Splicer(Continuation(Mode.PREFIX, "Hello"), shown("Hello"))
    assert isinstance(splicer.feed([delta]), Failure)
