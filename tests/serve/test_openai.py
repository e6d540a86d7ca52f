"""OpenAI's own client against a real service; what infinity's and vLLM's clients send, through the same client."""

from __future__ import annotations

import asyncio
import base64
import time

import httpx2
import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")  # the tiny model's

TEXTS = ["a red bag", "빨간 가방", "🎒", "a photo of a cat. " * 60, " spaces  and\nlines "]


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def truth(tiny_encoder):
    return tiny_encoder.encode_text(TEXTS).vectors


def rows(answer) -> np.ndarray:
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return np.array([one.embedding for one in answer.data], np.float32)


def refused(client, **body) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "tiny", **body})
    assert caught.value.type == "invalid_request_error"
    return caught.value


def test_base64_floats_and_the_offline_encoder_agree(client, truth):
    default = client.embeddings.create(model="tiny", input=TEXTS)  # asks for base64, and decodes it
    floats = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
    packed = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="base64")
    np.testing.assert_allclose(rows(default), truth, atol=1e-6)
    np.testing.assert_array_equal(rows(default), rows(floats))
    unpacked = [np.frombuffer(base64.b64decode(one.embedding), "<f4") for one in packed.data]
    np.testing.assert_array_equal(unpacked, rows(floats))


def test_one_text_and_the_shape_of_the_answer(client, truth, tiny_encoder):
    answer = client.embeddings.create(input=TEXTS[0], model="tiny", dimensions=24, user="somebody")
    np.testing.assert_allclose(rows(answer), truth[:1], atol=1e-6)
    assert (answer.object, answer.model, answer.data[0].object) == ("list", "tiny", "embedding")
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 5  # with those of beginning and end
    assert client.embeddings.create(input=TEXTS[3], model="tiny").usage.prompt_tokens == 77  # as far as it was read


def test_a_script_that_the_model_cannot_read_is_told_of(client):
    answer = client.embeddings.create(model="tiny", input=["a red bag", "빨간 가방", "a cat", "고양이"])
    assert len(answer.data) == 4
    (warning,) = answer.warnings
    assert (warning["code"], warning["script"], warning["items"]) == ("unsupported_script", "Hangul", [1, 3])
    assert not hasattr(client.embeddings.create(model="tiny", input=["a red bag"]), "warnings")


def test_many_texts_keep_their_order(client, tiny_encoder):
    texts = [f"number {i}" for i in range(600)]  # more than are encoded at once
    answer = client.embeddings.create(model="tiny", input=texts)
    np.testing.assert_allclose(rows(answer), tiny_encoder.encode_text(texts).vectors, atol=1e-6)
    assert refused(client, input=["x"] * 2049).param == "input"


def test_the_asynchronous_client(served, truth):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{served.address}/v1", api_key="none") as client:
            calls = [client.embeddings.create(model="tiny", input=text) for text in TEXTS]
            return [rows(answer)[0] for answer in await asyncio.gather(*calls)]

    np.testing.assert_allclose(asyncio.run(ask()), truth, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": ["fine", ""]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [True]}, "input[0]"),
        ({"input": {}}, "input"),
        ({"input": ["fine", "fine", None]}, "input[2]"),
        ({"input": ["x" * 32_769]}, "input[0]"),
        ({"input": ["fine", "data:image/png;base64,AAAA"]}, "input[1]"),
        ({"input": "x", "dimensions": 23}, "dimensions"),
        ({"input": "x", "dimensions": 25}, "dimensions"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "extra_body": {"encoding_format": "bytes"}}, "encoding_format"),
        ({"input": "x", "extra_body": {"modality": "audio"}}, "modality"),
        ({"input": "x", "extra_body": {"normalize": False}}, "normalize"),
        ({"input": "x", "extra_body": {"embed_dtype": "fp8"}}, "embed_dtype"),
        ({"input": "x", "extra_body": {"messages": [{"role": "user", "content": "x"}]}}, None),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(client, body, param):
    error = refused(client, **body)
    assert error.param == param
    assert "Error code: 400 - " in str(error)


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_the_way_out(client, ids):
    assert "check_embedding_ctx_length=False" in str(refused(client, input=ids))


def test_bodies_that_no_client_sends(served):
    with httpx2.Client(base_url=served.address) as http:
        for body in (b"", b"{", b'{"input": "\\ud800"}', b"[1]", b"null", b'{"input": NaN}', b"[" * 100_000):
            answer = http.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        nulls = dict.fromkeys(("model", "dimensions", "user", "encoding_format", "modality", "messages"))
        answer = http.post("/v1/embeddings", json={"input": "x", **nulls, "unknown": 1})
        assert isinstance(answer.json()["data"][0]["embedding"], list)


def test_errors_are_the_exceptions_that_callers_catch(client, serve):
    with pytest.raises(openai.NotFoundError, match="tiny") as caught:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.post("/rerank", cast_to=object, body={})
    locked = serve(keys=True)
    for key, message in (("wrong", "not known"), (locked.key("one"), None)):
        with openai.OpenAI(base_url=f"{locked.address}/v1", api_key=key) as known:
            if message is None:
                assert len(known.embeddings.create(model="tiny", input="x").data) == 1
                continue
            with pytest.raises(openai.AuthenticationError, match=message):
                known.embeddings.create(model="tiny", input="x")


def test_models_are_listed_and_told_of_by_name(serve, tiny_folder):
    name = "openai/clip vit?#한"
    other = serve(models=(f"tiny={tiny_folder}", f"{name}={tiny_folder}"))
    with openai.OpenAI(base_url=f"{other.address}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["tiny", name]
        assert client.models.retrieve(name).id == name
        assert isinstance(client.models.retrieve("tiny").created, int)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nothing")


def test_the_rate_limit_is_told_and_waited_for(serve):
    slow = serve(rate=60)
    asked: list[tuple[float, str]] = []
    hooks = {"request": [lambda request: asked.append((time.monotonic(), request.headers["x-stainless-retry-count"]))]}
    with openai.OpenAI(
        base_url=f"{slow.address}/v1", api_key="none", http_client=openai.DefaultHttpxClient(event_hooks=hooks)
    ) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            for _ in range(100):  # a few more come in while these are asked
                client.with_options(max_retries=0).models.list()
        assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("rate_limited", "1")
        while len(asked) != 2:  # until one comes too early, and is sent again
            asked.clear()
            client.embeddings.create(model="tiny", input="x")
    assert [count for _, count in asked] == ["0", "1"]
    assert asked[1][0] - asked[0][0] >= 0.9


def test_a_busy_model_is_asked_again(served, client, busy_once, truth):
    calls = busy_once(served.service.models.loaded[0])
    answer = client.with_options(max_retries=2).embeddings.create(model="tiny", input=TEXTS)
    np.testing.assert_allclose(rows(answer), truth, atol=1e-6)
    assert len(calls) == 2


# --- pictures


def test_pictures_as_infinity_takes_them(client, drawn, uri, tiny_encoder):
    files = [drawn("red"), drawn("blue", kind="JPEG"), drawn("green")]
    truth = tiny_encoder.encode_image(files).vectors
    sent = [uri(files[0]), uri(files[1], "image/jpeg"), base64.b64encode(files[2]).decode()]
    for field in ("modality", "infinity_extra_modality"):
        answer = client.embeddings.create(model="tiny", input=sent, extra_body={field: "image"})
        np.testing.assert_allclose(rows(answer), truth, atol=1e-6)
    one = client.embeddings.create(model="tiny", input=sent[0], extra_body={"modality": "image"})
    np.testing.assert_allclose(rows(one), truth[:1], atol=1e-6)
    assert one.usage.total_tokens == 0


def test_one_bad_picture_fails_the_request_and_is_named(client, drawn, uri):
    good = uri(drawn("red"))
    for bad in ("data:image/png;base64,AAAA", "data:image/png,AAAA", "not base64", "upload:0", "file:///etc/passwd"):
        error = refused(client, input=[good, bad, good], extra_body={"modality": "image"})
        assert error.param == "input[1]"
        assert "input[1]" in error.message
    address = refused(client, input=[good, "https://example.com/a.jpg"], extra_body={"modality": "image"})
    assert (address.param, address.code) == ("input[1]", "urls_not_allowed")
    assert "at most 64" in refused(client, input=[good] * 65, extra_body={"modality": "image"}).message


def conversation(*parts):
    return [{"role": "user", "content": list(parts)}]


def ask_with_messages(client, messages, **more) -> CreateEmbeddingResponse:
    """As vLLM's documentation does it, round `embeddings.create`."""
    body = {"messages": messages, "model": "tiny", **more}
    return client.post("/embeddings", cast_to=CreateEmbeddingResponse, body=body)


def test_messages_as_vllm_takes_them(client, drawn, uri, tiny_encoder):
    picture, text = tiny_encoder.encode_image([drawn("red")]).vectors[0], tiny_encoder.encode_text(["a cat"]).vectors[0]
    shown = conversation({"type": "image_url", "image_url": {"url": uri(drawn("red")), "detail": "low"}})
    bare = conversation({"image_url": uri(drawn("red"))}, {"type": "text", "text": " "})
    words = conversation({"type": "text", "text": "a cat"})
    for messages in (shown, bare):
        answer = ask_with_messages(client, messages, encoding_format="float")
        np.testing.assert_allclose(rows(answer), [picture], atol=1e-6)
    for messages in (words, [{"role": "user", "content": "a cat"}]):
        np.testing.assert_allclose(rows(ask_with_messages(client, messages)), [text], atol=1e-6)
    mixed = ask_with_messages(client, [words, shown, words])
    np.testing.assert_allclose(rows(mixed), [text, picture, text], atol=1e-6)
    assert mixed.id.startswith("embd-")
    packed = ask_with_messages(client, words, encoding_format="base64").data[0].embedding
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(packed), "<f4"), text, atol=1e-6)


def test_a_message_is_of_one_thing(client, drawn, uri):
    picture = {"type": "image_url", "image_url": {"url": uri(drawn("red"))}}
    words = {"type": "text", "text": "Represent the given image."}
    bad = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for messages, param in [
        (conversation(picture, words), "messages"),
        (conversation(picture, picture), "messages"),
        (conversation(words) + conversation(words), "messages"),
        ([conversation(words), []], "messages[1]"),
        ([conversation(picture), conversation(bad)], "messages[1]"),
        (conversation({"type": "image", "image": uri(drawn("red"))}), "messages"),
        ([], "messages"),
    ]:
        with pytest.raises(openai.BadRequestError) as caught:
            ask_with_messages(client, messages)
        assert caught.value.param == param
