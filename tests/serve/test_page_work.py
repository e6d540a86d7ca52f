"""The web page at work: two models, a recogniser, long jobs, and words that a model cannot read."""

from __future__ import annotations

import re

import httpx2 as httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from .browsing import chosen, fill, named, shape, shown_first
from .serving import picture

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")  # "other" knows no Hangul


MANY = 1000  # pictures: more than can be encoded before somebody cancels


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roots") / "many"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


@pytest.fixture(scope="module")
def service(serve, many, wider_folder):
    """With a collection of twelve shapes, a second model that knows only Latin letters, and a recogniser of colours."""
    served = serve(models=("anmok-mini", f"other={wider_folder}"), roots=(many,))
    with httpx.Client(base_url=served.address, timeout=60) as client:
        fill(client)
        client.post("/v1/collections", json={"name": "many"}).raise_for_status()
        client.post("/v1/collections", json={"name": "latin", "model": "other"}).raise_for_status()
    recogniser(served)
    return served


def recogniser(served) -> None:
    """As `anmok adapt` makes it from a folder of each colour."""
    from anmok.adapt import adapt
    from anmok.adapt.examples import Examples
    from anmok.classify import Label, LabelSet

    kinds = ("circle", "square", "triangle")
    files = tuple(shape(color, kind) for kind in kinds for color in ("red", "blue") for _ in range(3))
    targets = np.array([row for _ in kinds for row in (0, 1) for _ in range(3)])
    labels = LabelSet([Label("red thing"), Label("blue thing")])
    examples = Examples(files, tuple(map(str, range(len(files)))), targets, labels)
    encoder = served.service.models.loaded[0].encoder
    adapt(encoder, examples, methods=[]).classifier.save(served.settings.home / "recognisers" / "colours")


@pytest.fixture
def api(service):
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client


# --- long jobs


def test_a_job_is_cancelled(visit, api):
    page = visit("collections/many")
    page.get_by_role("button", name="Folder of the server").click()
    page.get_by_role("dialog").get_by_role("button", name="many").click()
    page.get_by_role("button", name="Add this folder").click()
    job = page.locator(".jobs .job")
    expect(job.get_by_role("progressbar")).to_have_attribute("aria-valuenow", re.compile(r"\d"))
    expect(job.locator(".hint")).to_contain_text(f"of {MANY:,}")
    job.get_by_role("button", name="Cancel").click()
    expect(job.locator(".state")).to_have_text("cancelled")
    expect(job.get_by_role("button", name="Cancel")).to_have_count(0)
    found = api.get("/v1/collections/many").json()["pictures"]
    assert found < MANY
    expect(page.locator("header .hint")).to_contain_text(f"{found:,} picture")
    expect(page.locator("header .hint")).to_contain_text(re.compile("from many$"))


def test_a_collection_moves_to_another_model_and_back(visit, api):
    page = visit("collections/shapes")
    facts = page.locator("header .hint")
    expect(facts).to_contain_text("anmok-mini")
    for model in ("other", "anmok-mini"):
        page.get_by_role("button", name="Move to another model").click()
        dialog = page.get_by_role("dialog", name="Move to another model")
        expect(dialog.get_by_role("combobox")).to_have_value(model)  # the one that it does not have
        dialog.get_by_role("button", name="Start").click()
        job = page.locator(".job", has_text=f"Move to {model}")
        expect(job).to_contain_text("12 pictures moved")
        expect(facts).to_contain_text(model)
    page.get_by_role("button", name="Search in it").click()
    page.get_by_role("searchbox").fill("red circle")
    shown_first(page, "red/circle")


def test_a_move_that_cannot_be_made_says_why_in_the_dialog(visit):
    page = visit("collections/shapes", refused=(422,))
    page.get_by_role("button", name="Move to another model").click()
    dialog = page.get_by_role("dialog", name="Move to another model")
    dialog.locator("input[type=number]").evaluate("field => { field.removeAttribute('max'); field.value = 2; }")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("least_recall")
    expect(dialog).to_be_visible()


def test_pictures_that_are_there_twice(visit, api):
    page = visit("collections/latin")
    same = shape("red", "square")
    page.locator("input[type=file]").first.set_input_files(
        chosen(("a.png", same), ("b.png", same), named("blue", "circle"))
    )
    expect(page.get_by_text("3 added")).to_be_visible()
    page.get_by_role("button", name="Near-duplicates").click()
    group = page.locator(".twins .small")
    expect(group).to_have_count(2)
    expect(page.get_by_text("1 group")).to_be_visible()
    group.first.click()
    viewer = page.get_by_role("dialog", name="Picture")
    viewer.get_by_role("button", name="Take out").click()
    page.get_by_role("dialog", name="Take out").get_by_role("button", name="Take out").click()
    expect(viewer.get_by_role("heading", name="b.png")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("No near-duplicates")).to_be_visible()


# --- what a recogniser learned, and what a model cannot read


def test_a_recogniser_is_chosen(visit):
    page = visit("recognize")
    page.get_by_role("button", name="Recogniser").click()
    expect(page.get_by_role("combobox", name="Recogniser")).to_have_value("colours")
    expect(page.locator(".labels-typed .tag")).to_have_text(["red thing", "blue thing"])
    page.locator("input[type=file]").first.set_input_files(chosen(named("blue", "square")))
    expect(page.get_by_role("heading", name="blue thing")).to_be_visible()


def test_labels_that_the_model_cannot_read_are_told_with_a_way_out(visit):
    page = visit("recognize")
    page.locator("input[type=file]").first.set_input_files(chosen(named("red", "circle")))
    page.get_by_label("Add a label").fill("파란 네모, 빨간 동그라미, a dog")
    expect(page.get_by_role("heading", name="빨간 동그라미")).to_be_visible()
    page.get_by_label("Model").select_option("other")
    caution = page.locator(".labels .caution")
    expect(caution).to_contain_text("other cannot read “파란 네모”, “빨간 동그라미”")
    page.get_by_label("Add a label").fill("")
    caution.get_by_role("button", name="Use anmok-mini").click()
    expect(page.get_by_label("Model")).to_have_value("anmok-mini")
    expect(caution).to_have_count(0)


def test_words_of_a_search_that_the_model_cannot_read_are_told(visit):
    page = visit("search?c=latin&q=a bag - 가죽")
    caution = page.locator(".search .caution")
    expect(caution).to_contain_text("other cannot read “가죽”")
    page.get_by_role("searchbox").fill("a bag")
    expect(caution).to_have_count(0)
    page.get_by_role("searchbox").fill("가방")
    caution.get_by_role("button", name="Move to anmok-mini").click()
    expect(page.get_by_role("button", name="Move to another model")).to_be_visible()


def test_status_tells_of_both_models_how_they_run(visit):
    page = visit("status")
    for name in ("anmok-mini", "other"):
        panel = page.locator(".panel", has=page.get_by_role("heading", name=name))
        expect(panel.get_by_text("onnxruntime fp32")).to_have_count(2)


def test_a_fidelity_near_to_1_is_not_shown_as_1(visit):
    def nearly(route):
        answer = route.fetch()
        told = answer.json()
        told["models"][0]["image"] |= {"fidelity": {"mean": 0.9999961}, "speedup": 3.14}
        route.fulfill(response=answer, json=told)

    page = visit("collections")
    page.route("**/v1/status", nearly)
    page.keyboard.press("4")
    expect(page.get_by_text("3.1× as fast as fp32 · cosine with fp32 0.99999", exact=True)).to_be_visible()
