"""Pictures are decoded elsewhere: as here, and a picture that kills or holds its decoder fails alone."""

import asyncio
import io
import time

import numpy as np
import pytest
from PIL import Image

from anmok.errors import PictureError
from anmok.pictures import Preparer, Transform
from anmok.serve import decoders
from anmok.serve.decoder import Measured, Thumbnail, arrays_of
from anmok.serve.decoders import Decoders

TRANSFORM = Transform((32, 32))


def noise(height=60, width=90, kind="JPEG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


class Dies:
    """Stands in for a decoder that a picture breaks."""

    def __call__(self, picture):
        import os

        os._exit(139)


class Hangs:
    def __call__(self, picture):
        time.sleep(60)


class Eats:
    def __call__(self, picture):
        return (np.ones(4 << 30, np.uint8),)


class Lies:
    """Answers with an array of objects, which would be unpickled by a careless reader."""

    def __call__(self, picture):
        return (np.zeros(1, "<f8"),)


def decode(jobs, count=1, seconds=20.0, **how):
    """What becomes of each job, all of them asked at once; and how many decoders were lost."""

    async def ask():
        decoders = Decoders(count, seconds=seconds, megabytes=1024, pixels=how.get("pixels", 1_000_000))
        await decoders.start()
        found = await asyncio.gather(*(decoders.run(job) for job in jobs), return_exceptions=True)
        await decoders.close()
        return found, decoders.lost

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_pixels_are_those_of_this_process():
    prepare = Preparer(TRANSFORM)
    pictures = [noise(), noise(kind="PNG"), noise(31, 17)]
    found, lost = decode([(Measured(prepare), picture) for picture in pictures], count=2)
    for picture, (size, pixels) in zip(pictures, found, strict=True):
        assert np.array_equal(pixels, prepare(picture)[0])
        assert tuple(size) == Image.open(io.BytesIO(picture)).size
    assert lost == 0


def test_naflex_patches_come_whole():
    prepare = Preparer(Transform((32, 32), resize="naflex", patch_size=8, max_patches=16))
    ((_, patches, mask, shape),), _ = decode([(Measured(prepare), noise())])
    for given, expected in zip((patches, mask, shape), prepare(noise()), strict=True):
        assert np.array_equal(given, expected) and given.dtype == expected.dtype


def test_a_bad_picture_says_why_and_its_decoder_goes_on():
    job = Measured(Preparer(TRANSFORM))
    found, lost = decode([(job, b"nonsense"), (job, noise()[:500]), (job, b""), (job, noise())])
    assert [type(one) for one in found[:3]] == [PictureError] * 3
    assert "not a picture" in found[0].reason and "truncated" in found[1].reason
    assert len(found[3]) == 2 and lost == 0


def test_more_pixels_than_allowed_are_not_decoded():
    (found,), lost = decode([(Measured(Preparer(TRANSFORM)), noise(100, 100))], pixels=9_999)
    assert isinstance(found, PictureError) and "over the limit" in found.reason and lost == 0


@pytest.mark.parametrize("harm", [Dies(), Eats(), Lies()], ids=["dies", "eats memory", "answers nonsense"])
def test_a_picture_that_breaks_its_decoder_fails_alone(harm):
    job = Measured(Preparer(TRANSFORM))
    found, lost = decode([(job, noise()), (harm, b"x"), (job, noise()), (harm, b"x"), (job, noise())])
    assert [type(one) for one in found] == [list, PictureError, list, PictureError, list]
    assert lost == (0 if isinstance(harm, Eats) else 2)  # too little memory is an answer


def test_a_picture_that_takes_for_ever_is_given_up():
    start = time.monotonic()
    found, lost = decode([(Hangs(), b"x"), (Measured(Preparer(TRANSFORM)), noise())], seconds=3.0)
    assert "longer than 3 seconds" in found[0].reason and len(found[1]) == 2 and lost == 1
    assert time.monotonic() - start < 30


def test_the_answer_of_a_client_that_left_reaches_nobody_else():
    job = Measured(Preparer(TRANSFORM))

    async def ask():
        decoders = Decoders(1, seconds=20, megabytes=1024, pixels=10**6)
        await decoders.start()
        leaves = asyncio.create_task(decoders.run((job, noise(400, 300))))
        await asyncio.sleep(0.001)
        leaves.cancel()
        size, _ = await decoders.run((job, noise(20, 30)))
        await decoders.close()
        return tuple(size)

    assert asyncio.run(ask()) == (30, 20)


def test_a_decoder_that_ends_while_it_is_idle_costs_no_picture():
    job = Measured(Preparer(TRANSFORM))

    async def ask():
        pool = Decoders(1, seconds=20, megabytes=1024, pixels=10**6)
        await pool.start()
        process = pool._all[0]._process
        process.kill()
        await process.wait()
        size, _ = await pool.run((job, noise(20, 30)))
        await pool.close()
        return tuple(size), pool.lost

    assert asyncio.run(ask()) == ((30, 20), 0)


def test_a_thumbnail_is_a_small_jpeg():
    ((content,),), _ = decode([(Thumbnail(48), noise(600, 900))])
    small = Image.open(io.BytesIO(content.tobytes()))
    assert small.format == "JPEG" and small.size == (48, 32)


@pytest.mark.parametrize(
    "answer", [b"", b"{}\n", b"[1]\n", b'{"arrays": [["|u1", [10]]]}\nshort', b'{"arrays": [["|O", [1]]]}\n12345678']
)
def test_nonsense_from_a_decoder_is_no_answer(answer):
    with pytest.raises((ValueError, KeyError, TypeError)):
        arrays_of(answer)


def test_a_client_that_leaves_while_a_decoder_is_replaced_takes_no_decoder_along(monkeypatch):
    job = Measured(Preparer(TRANSFORM))
    replace = decoders._Decoder.replace

    async def slowly(decoder):
        await asyncio.sleep(0.1)
        await replace(decoder)

    monkeypatch.setattr(decoders._Decoder, "replace", slowly)

    async def ask():
        pool = Decoders(1, seconds=20, megabytes=1024, pixels=10**6)
        await pool.start()
        for _ in range(2):
            lost = pool.lost
            leaves = asyncio.create_task(pool.run((Dies(), b"x")))
            while pool.lost == lost:
                await asyncio.sleep(0.005)
            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
        size, _ = await asyncio.wait_for(pool.run((job, noise(20, 30))), 20)
        await pool.close()
        return tuple(size)

    assert asyncio.run(asyncio.wait_for(ask(), 40)) == (30, 20)
