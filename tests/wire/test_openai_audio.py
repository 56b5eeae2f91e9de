"""Speech and transcripts in OpenAI's format: sounds, forms, text and streams, with OpenAI's client as the judge."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.audio import Transcription

from loops import in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, Html, NotMedia, Status
from unbroken.testing.samples import sound
from unbroken.types import Delta, Output, Request, Target, Task, Usage, fold
from unbroken.wire import Next, format_for
from unbroken.wire.media import media_type_of
from unbroken.wire.multipart import Part, read_form, write_form
from unbroken.wire.openai_audio import FORMAT, NAME, decoder, read_request, write_request, writer
from unbroken.work import Recording, Speech
from wire.judges import captured, sdk_for
from wire.reading import MP3, OUTCOME, PNG, deltas_of, failure_of, outputs_of, pieces_of, told
from wire.recorded import Recording as Recorded
from wire.recorded import everything, ours

SPEECH, TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.example/v1", key="k")
JSON = {"content-type": "application/json"}
WAV = sound("wav").data


def say(**fields: Any) -> Request:
    request = read_request(SPEECH, json.dumps({"model": "m", "input": "Hi there", "voice": "alloy", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def hear(path: str = TRANSCRIPTIONS, **fields: str) -> Request:
    parts = [Part(name=name, data=value.encode()) for name, value in {"model": "m", **fields}.items()]
    file = Part(name="file", data=WAV, filename="a.wav", content_type="audio/wav")
    request = read_request(path, write_form([*parts, file])[0])
    assert isinstance(request, Request), request
    return request


def foreign(work: Speech | Recording) -> Request:
    task = Task.SPEECH if isinstance(work, Speech) else Task.TRANSCRIPTION
    return Request(model="m", task=task, read=lambda: work)


# ----------------------------------------------------------------------- to a provider


def test_it_is_what_openai_families_use() -> None:
    """A target that chats in OpenAI's format speaks and listens in this one."""
    assert format_for("openai_chat", Task.SPEECH) is format_for("openai_chat", Task.TRANSCRIPTION) is FORMAT
    assert FORMAT.paths == (SPEECH, TRANSCRIPTIONS, TRANSLATIONS)


def test_speech_passes_with_another_model() -> None:
    """The caller's own fields go out."""
    request = say(response_format="wav", speed=1.5)
    assert (request.task, request.model, request.prompt_chars, request.stream) == (Task.SPEECH, "m", 10, False)
    sent = write_request(request, TARGET)
    assert sent.url == "https://x.example/v1/audio/speech"
    assert json.loads(sent.body) == {
        "model": "other", "input": "Hi there", "voice": "alloy", "response_format": "wav", "speed": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
def test_forms_pass_with_another_model(path: str) -> None:
    """Every field and the file go out as they came, at the same path; the same request gives the same bytes."""
    request = hear(path, language="de", **{"timestamp_granularities[]": "word"})
    assert (request.task, request.model, request.stream) == (Task.TRANSCRIPTION, "m", False)
    sent = write_request(request, TARGET)
    assert sent.url == f"https://x.example{path}"
    fields = {part.name: part.data for part in read_form(sent.body)}
    assert fields == {"model": b"other", "language": b"de", "timestamp_granularities[]": b"word", "file": WAV}
    assert write_request(request, TARGET) == sent


def test_what_others_want_is_said_here() -> None:
    """Everything that is modelled is said, extras make the target ineligible, hints are left out and reported."""
    speech = Speech(text="Hi", voice="v", container="opus", speed=0.5, instructions="slowly", hints={"x": 1})
    sent = write_request(foreign(speech), TARGET)
    assert json.loads(sent.body) == {
        "model": "other", "input": "Hi", "voice": "v", "response_format": "opus", "speed": 0.5, "instructions": "slowly"
    }  # fmt: skip
    assert sent.unsaid == ("x",)
    with pytest.raises(ValueError, match="pitch"):
        write_request(foreign(replace(speech, extras={"pitch": 2})), TARGET)
    with pytest.raises(ValueError, match="language"):
        write_request(foreign(Recording(data=WAV, language="de", translate=True)), TARGET)


@pytest.mark.parametrize(
    "work",
    [
        Speech(text="Hi"),
        Speech(text="Hi", voice="v", container="wav", speed=2.0, instructions="i", hints={"user": "u"}),
        Recording(data=WAV, name="a.wav", media_type="audio/wav"),
        Recording(data=WAV, name="a.mp3", language="de", prompt="p", temperature=0.5, answer="verbose_json"),
        Recording(data=WAV, name="a.wav", translate=True, answer="text"),
    ],
)
def test_work_survives(work: Speech | Recording) -> None:
    """Written and read again, it is the same."""
    sent = write_request(foreign(work), TARGET)
    again = read_request(sent.url.removeprefix("https://x.example"), sent.body)
    assert isinstance(again, Request)
    assert again.work == work


# ----------------------------------------------------------------------- from a caller


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (SPEECH, b'{"input": "a"}', "model"),
        (SPEECH, b'{"model": "m"}', "input"),
        (SPEECH, b'{"model": "m", "input": 7}', "input"),
        (SPEECH, b'{"model": "m", "input": ""}', "input"),
        (TRANSCRIPTIONS, b'{"model": "m"}', "file"),
        (TRANSCRIPTIONS, write_form([Part(name="file", data=b"1", filename="a")])[0], "model"),
        (TRANSCRIPTIONS, write_form([Part(name="model", data=b"m")])[0], "file"),
        (TRANSCRIPTIONS, write_form([Part(name="model", data=b"m"), Part(name="file", data=b"", filename="a")])[0],
         "file"),
        (TRANSCRIPTIONS, b"--x\r\nbroken", None),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(path: str, body: bytes, param: str | None) -> None:
    """A caller learns which field is wrong."""
    failure = failure_of(read_request(path, body))
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


def test_what_is_wrong_inside_is_told_when_it_is_read() -> None:
    """ValueError names the field to whoever reads it for another format."""
    with pytest.raises(ValueError, match="speed"):
        _ = say(speed="fast").work
    with pytest.raises(ValueError, match="voice"):
        _ = say(voice={"id": "v"}).work
    with pytest.raises(ValueError, match="temperature"):
        _ = hear(temperature="hot").work


# ----------------------------------------------------------------------------- answers


@pytest.mark.parametrize("container", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_sounds_pass_as_they_came(container: str) -> None:
    """The bytes are the answer, under the type that they have, and cost by their characters."""
    made, request = sound(container), say(response_format=container)
    for headers in ({"content-type": made.media_type}, {"content-type": "application/octet-stream"}, {}):
        for pieces in ([made.data], pieces_of(made.data, 3)):
            deltas = deltas_of(told(decoder(request, TARGET), *pieces, headers=headers))
            assert (deltas[0].media, deltas[0].usage) == (1, Usage(characters=8))
            out = writer(request)
            assert out.whole(deltas, OUTCOME) == made.data
            assert out.content_type == made.media_type


def test_mistrals_sound_is_unpacked() -> None:
    """A sound in base64 within JSON comes out as its bytes, which is what callers of this format expect."""
    body = json.dumps({"audio_data": base64.b64encode(MP3).decode()}).encode()
    deltas = deltas_of(told(decoder(say(), TARGET), body, headers=JSON))
    assert writer(say()).whole(deltas, OUTCOME) == MP3


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"detail": "no"}', b'{"audio_data": "?"}', b'{"audio_data": 7}', b"{broken", PNG]
)
def test_what_is_no_sound_is_malformed(body: bytes) -> None:
    """JSON, a page or a picture in place of a sound is a failure."""
    assert failure_of(told(decoder(say(), TARGET), body, headers={"content-type": "audio/mpeg"})).kind in (
        FailureKind.MALFORMED, FailureKind.SERVER
    )  # fmt: skip


def test_errors_in_place_of_sounds() -> None:
    """JSON that reports an error is that error."""
    body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    for request in (say(), hear()):
        assert failure_of(told(decoder(request, TARGET), body, headers=JSON)).kind is FailureKind.RATE_LIMIT


@pytest.mark.parametrize(
    ("body", "text", "usage"),
    [
        (b'{"text": "Hi", "usage": {"type": "duration", "seconds": 3}}', "Hi", Usage(seconds=3.0)),
        (b'{"text": "Hi", "duration": 2.5, "segments": []}', "Hi", Usage(seconds=2.5)),
        (
            b'{"text": "Hi", "usage":{"input_tokens":9,"output_tokens":2,"input_token_details":{"audio_tokens":8}}}',
            "Hi",
            Usage(input_tokens=9, output_tokens=2, input_audio_tokens=8),
        ),
        (b' {"text": ""}', "", Usage()),
    ],
)
def test_transcripts_are_read(body: bytes, text: str, usage: Usage) -> None:
    """The words and what they cost are read, and the body passes; a recording of silence has no words."""
    deltas = deltas_of(told(decoder(hear(), TARGET), body, headers=JSON))
    assert (deltas[0].text, deltas[0].usage, deltas[0].has_content) == (text, usage, True)
    assert writer(hear()).whole(deltas, OUTCOME) == body


@pytest.mark.parametrize("asked_for", ["text", "srt", "vtt"])
def test_plain_transcripts(asked_for: str) -> None:
    """Text and subtitles are no JSON, and a page is neither."""
    request = hear(response_format=asked_for)
    deltas = deltas_of(told(decoder(request, TARGET), b"Hi\n", headers={"content-type": "text/plain; charset=utf-8"}))
    assert deltas[0].text == "Hi\n"
    out = writer(request)
    assert out.whole(deltas, OUTCOME) == b"Hi\n"
    assert out.content_type.startswith("text/plain")
    assert isinstance(told(decoder(request, TARGET), b"<html>", headers={"content-type": "text/html"}), Failure)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"text": 7}', b'{"text": null}', b"{"])
def test_what_is_no_transcript_is_malformed(body: bytes) -> None:
    """A good answer has text in it."""
    assert failure_of(told(decoder(hear(), TARGET), body, headers=JSON)).kind is FailureKind.MALFORMED


def test_words_of_others_are_written_as_asked() -> None:
    """JSON, verbose JSON or text, for a caller whose words came from elsewhere."""
    deltas = [Delta(text="Hi"), Delta(text=" there", usage=Usage(seconds=2.0))]
    assert json.loads(writer(hear()).whole(deltas, OUTCOME)) == {
        "text": "Hi there", "usage": {"type": "duration", "seconds": 2.0}
    }  # fmt: skip
    verbose = json.loads(writer(hear(response_format="verbose_json")).whole(deltas, OUTCOME))
    assert (verbose["duration"], verbose["segments"]) == (2.0, [])
    assert writer(hear(response_format="text")).whole(deltas, OUTCOME) == b"Hi there"
    assert b"no" in writer(hear()).broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME)


# ----------------------------------------------------------------------------- streams

WORDS = (
    b'data: {"type":"transcript.text.delta","delta":"Hi"}\n\n'
    b'data: {"type":"transcript.text.delta","delta":" there"}\n\n'
    b'data: {"type":"transcript.text.done","text":"Hi there","usage":{"type":"tokens","input_tokens":3,'
    b'"output_tokens":2,"total_tokens":5,"input_token_details":{"audio_tokens":3}}}\n\n'
    b"data: [DONE]\n\n"
)


def test_streamed_words_pass_as_they_came() -> None:
    """Each word at once, in whatever pieces the bytes come, and the bytes unchanged."""
    request = hear(stream="true")
    assert request.stream
    for pieces in ([WORDS], [WORDS[i : i + 1] for i in range(len(WORDS))], pieces_of(WORDS, 2)):
        deltas = deltas_of(told(decoder(request, TARGET), *pieces))
        whole = fold(deltas)
        assert (whole.text, whole.usage) == (
            "Hi there", Usage(input_tokens=3, output_tokens=2, input_audio_tokens=3)
        )  # fmt: skip
        out = writer(request)
        assert out.write(deltas) + out.end(OUTCOME) == WORDS


def test_streamed_sounds_pass_as_they_came() -> None:
    """Pieces of a sound come in events, which go on unchanged."""
    packed = base64.b64encode(MP3).decode()
    body = (
        f'data: {{"type":"speech.audio.delta","audio":"{packed}"}}\n\n'
        'data: {"type":"speech.audio.done","usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}\n\n'
    ).encode()
    request = say(stream_format="sse")
    deltas = deltas_of(told(decoder(request, TARGET), body))
    assert [output.data for delta in deltas for output in delta.outputs] == [MP3]
    out = writer(request)
    assert out.write(deltas) + out.end(OUTCOME) == body
    broken = b'data: {"type":"speech.audio.delta","audio":"?"}\n\n'
    assert failure_of(told(decoder(request, TARGET), broken)).kind is FailureKind.MALFORMED
    assert failure_of(told(decoder(request, TARGET), body[:60])).kind is not None


def test_words_and_sounds_of_others_are_streamed() -> None:
    """A caller that streams gets proper events and a proper end, or an error and no end."""
    out = writer(hear(stream="true"))
    events = out.write([Delta(text="Hi"), Delta(usage=Usage(seconds=1.0))]) + out.end(OUTCOME)
    kinds = [json.loads(line[6:])["type"] for line in events.splitlines() if line.startswith(b"data: ")]
    assert kinds == ["transcript.text.delta", "transcript.text.done"]
    out = writer(say(stream_format="sse"))
    events = out.write([Delta(media=1, outputs=(Output(kind="audio", data=MP3),))]) + out.end(OUTCOME)
    assert b"speech.audio.delta" in events
    assert b"speech.audio.done" in events
    assert b'"type":"error"' in out.broken(Failure(kind=FailureKind.SERVER, message="m"), OUTCOME)


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"text":' + b, st.binary(max_size=20)), st.booleans())
def test_any_bytes_are_deltas_or_a_failure(body: bytes, said: bool) -> None:
    """No bytes raise, from either side."""
    for request in (say(), hear(), hear(response_format="text"), hear(stream="true"), say(stream_format="sse")):
        assert not isinstance(told(decoder(request, TARGET), body, headers=JSON if said else {}), Next)
    for path in FORMAT.paths:
        assert isinstance(read_request(path, body), Request | Failure)


# ----------------------------------------------------------------------------- recordings


def bytes_of(recording: Recorded, side: str) -> bytes:
    body = recording[f"{side}_body"]
    if recording.get(f"{side}_body_encoding") == "base64":
        return base64.b64decode(body)
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def check(recording: Recorded) -> None:
    path = "/v1/audio" + recording["url"].rpartition("/audio")[2]
    body, answer = bytes_of(recording, "request"), bytes_of(recording, "response")
    headers = {"content-type": recording["response_headers"]["content-type"]}
    if body == b"[multipart form data omitted]":
        request = hear(path)
    else:
        found = read_request(path, body)
        assert isinstance(found, Request), found
        request = found
        check_request(request, path, body)
    cuts = [[answer], pieces_of(answer, 5)]
    if len(answer) < 5_000:
        cuts.append([answer[i : i + 1] for i in range(len(answer))])
    for pieces in cuts:
        check_answer(recording, request, told(decoder(request, TARGET), *pieces, headers=headers))


def check_request(request: Request, path: str, body: bytes) -> None:
    """With another model it is the same, and what it says survives being said anew."""
    sent = write_request(request, TARGET)
    if request.task is Task.SPEECH:
        assert json.loads(sent.body) == {**json.loads(body), "model": "other"}
    else:
        fields = [(p.name, b"other" if p.name == "model" else p.data, p.filename) for p in read_form(body)]
        assert [(p.name, p.data, p.filename) for p in read_form(sent.body)] == fields
    work = request.work
    assert isinstance(work, Speech | Recording)
    again = read_request(path, write_request(foreign(work), TARGET).body)
    assert isinstance(again, Request)
    assert again.work == work


def check_answer(recording: Recorded, request: Request, found: Any) -> None:
    """What is read is what OpenAI's client reads, and the bytes pass."""
    answer = bytes_of(recording, "response")
    if request.task is Task.SPEECH:
        assert media_type_of(outputs_of(found)[0].data) == "audio/mpeg"
        if recording["provider"] != "mistral":
            assert writer(request).whole(deltas_of(found), OUTCOME) == answer
        return
    whole = fold(deltas_of(found))
    if request.stream:
        events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: {")]
        assert whole.text == events[-1]["text"]
        judged: Any = construct_type(type_=Transcription, value=events[-1])
    else:
        judged = construct_type(type_=Transcription, value=json.loads(answer))
        assert writer(request).whole(deltas_of(found), OUTCOME) == answer
    assert whole.text == judged.text
    assert whole.usage is not None
    if getattr(judged.usage, "input_tokens", None) is not None:  # Mistral counts in words that the client does not know
        assert whole.usage.input_tokens == judged.usage.input_tokens
        assert whole.usage.output_tokens == judged.usage.output_tokens


def test_our_recordings() -> None:
    """Recorded requests and answers pass."""
    found = ours("audio.speech", "audio.transcriptions")
    assert len(found) >= 2
    for recording in found:
        check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for the large set."""
    found = everything(shared, "audio.speech", "audio.transcriptions")
    assert len(found) >= 9
    for recording in found:
        check(recording)


# ------------------------------------------------------------------------- the judge


@in_loop
async def test_openais_client_speaks() -> None:
    """The bytes come in the container that was asked for, whole and in pieces."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        for container in ("mp3", "wav", "pcm"):
            spoken = await client.audio.speech.create(model="m", input="Hi", voice="alloy", response_format=container)
            assert spoken.content == sound(container).data
            assert spoken.response.headers["content-type"] == sound(container).media_type
        fake.fail_with(NotMedia())
        served = await client.audio.speech.create(model="m", input="Hi", voice="alloy")
        assert isinstance(told(decoder(say(), TARGET), served.content), Failure)


@in_loop
async def test_openais_client_listens() -> None:
    """JSON, text and a stream of words come as the client expects them, for a file that arrives whole."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        file = ("a.wav", WAV, "audio/wav")
        heard = await client.audio.transcriptions.create(model="m", file=file, language="de")
        assert heard.text
        read = read_request(TRANSCRIPTIONS, fake.seen[-1].body)
        assert isinstance(read, Request)
        assert read.work == Recording(data=WAV, name="a.wav", media_type="audio/wav", language="de")
        plain = await client.audio.transcriptions.create(model="m", file=file, response_format="text")
        assert plain == heard.text
        stream = await client.audio.transcriptions.create(model="m", file=file, stream=True)
        events = [event async for event in stream]
        assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == heard.text
        assert events[-1].type == "transcript.text.done"
        with pytest.warns(DeprecationWarning, match="deprecated"):
            translated = await client.audio.translations.create(model="m", file=file)
        assert translated.text == heard.text


@in_loop
async def test_openais_client_raises_what_it_should() -> None:
    """Errors become the client's own classes."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        fake.fail_with(Status(429))
        with pytest.raises(openai.RateLimitError):
            await client.audio.speech.create(model="m", input="Hi", voice="alloy")
        with pytest.raises(openai.RateLimitError):
            await client.audio.transcriptions.create(model="m", file=("a.wav", WAV))
        fake.fail_with(Html())
        served = await client.audio.speech.create(model="m", input="Hi", voice="alloy")
        assert isinstance(told(decoder(say(), TARGET), served.content), Failure)


@in_loop
async def test_we_ask_as_openais_client_does() -> None:
    """Our requests are those that the client sends for the same wishes."""
    theirs = await captured(
        lambda client: client.audio.speech.create(
            model="other", input="Hi", voice="alloy", response_format="wav", speed=1.5, instructions="slowly"
        )
    )
    speech = Speech(text="Hi", voice="alloy", container="wav", speed=1.5, instructions="slowly")
    assert json.loads(write_request(foreign(speech), TARGET).body) == json.loads(theirs.body)
    theirs = await captured(
        lambda client: client.audio.transcriptions.create(
            model="other", file=("a.wav", WAV, "audio/wav"), language="de", prompt="p", temperature=0.5
        )
    )
    heard = Recording(data=WAV, name="a.wav", media_type="audio/wav", language="de", prompt="p", temperature=0.5)
    ours_ = write_request(foreign(heard), TARGET)
    assert sorted(bare(ours_.body)) == sorted(bare(theirs.body))
    assert theirs.headers["content-type"].partition(";")[0] == ours_.headers["content-type"].partition(";")[0]


def bare(body: bytes) -> list[tuple[str, bytes, str, str]]:
    return [(part.name, part.data, part.filename, part.content_type) for part in read_form(body)]


def test_the_format_says_what_it_is() -> None:
    """Answers keep the bytes that they came in, under this format's name."""
    deltas = deltas_of(told(decoder(hear(), TARGET), b'{"text": "Hi"}', headers=JSON))
    assert (deltas[0].format, deltas[0].body) == (NAME, True)
