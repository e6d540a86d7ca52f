"""The web page in a real browser, against a real service with the built-in model."""

from __future__ import annotations

import io
import re
from importlib.resources import files

import httpx2 as httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from .browsing import COLORS, chosen, fill, give, named, shape, shown_first, tiles

PAGE = files("anmok.serve") / "page"
SCREENS = ("search", "recognize", "collections", "collections/shapes", "status")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roots") / "photos"
    (folder / "signs").mkdir(parents=True)
    for color in COLORS[:2]:
        (folder / "signs" / f"{color}.png").write_bytes(shape(color, "circle"))
    (folder / "signs" / "torn.png").write_bytes(shape("red", "circle")[:90])
    return folder


@pytest.fixture(scope="module")
def service(serve, roots):
    """With a collection of twelve shapes, in folders by colour."""
    served = serve(models=("anmok-mini",), roots=(roots,))
    with httpx.Client(base_url=served.address, timeout=60) as client:
        fill(client)
    return served


# --- search


def test_without_a_query_the_collection_is_shown(visit):
    page = visit()
    expect(tiles(page)).to_have_count(12)
    expect(page.get_by_text("12 pictures")).to_be_visible()
    expect(page.locator(".tile img.there").first).to_be_visible()


def test_words_find_pictures_as_they_are_typed(visit):
    page = visit("search?c=shapes")
    page.get_by_role("searchbox").fill("red circle")
    shown_first(page, "red/circle")
    expect(page.get_by_text("stand out")).to_be_visible()
    assert "q=red+circle" in page.url
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("red circle")
    shown_first(page, "red/circle")


def test_where_nothing_stands_out_the_page_says_so(visit):
    page = visit("search?c=shapes&q=a zebra crossing at night")
    expect(page.get_by_text("Nothing stands out.")).to_be_visible()
    expect(page.locator(".tile.faint")).to_have_count(12)


def test_dropped_and_pasted_pictures_are_terms_with_weights(visit):
    page = visit("search?c=shapes")
    expect(tiles(page)).to_have_count(12)
    give(page, "drop", named("blue", "square"))
    expect(page.locator(".chip")).to_have_count(1)
    shown_first(page, "blue/square")
    give(page, "paste", named("yellow", "circle"))
    weights = page.get_by_role("slider")
    expect(weights).to_have_count(2)
    weights.first.fill("-2")
    expect(page.locator(".chip.minus")).to_have_text("−2.0")
    shown_first(page, "yellow/circle")


def test_arithmetic_of_words(visit):
    page = visit("search?c=shapes")
    field = page.get_by_role("searchbox")
    field.fill("2:green triangle - circle")
    field.press("Shift+Enter")
    expect(page.locator(".chip")).to_have_text(["green triangle+2.0", "circle−1.0"])
    expect(field).to_have_value("")
    shown_first(page, "green/triangle")
    field.press("Backspace")
    expect(page.locator(".chip")).to_have_text(["green triangle"])


def test_a_query_that_cannot_be_read_is_explained_in_place(visit):
    page = visit("search?c=shapes", refused=(422,))
    page.get_by_role("searchbox").fill("red -")
    expect(page.locator(".trouble")).to_contain_text("-")
    page.get_by_role("searchbox").fill("red")
    expect(page.locator(".trouble")).to_have_count(0)


def test_filters_from_the_metadata_and_by_hand(visit):
    page = visit("search?c=shapes")
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("group", name="Folder").get_by_role("button", name="blue").click()
    expect(tiles(page)).to_have_count(3)
    page.get_by_role("button", name="Remove the filter Folder is blue").click()
    expect(tiles(page)).to_have_count(12)
    page.get_by_label("Field", exact=True).fill("corners")
    page.get_by_label("Condition").select_option("ge")
    page.get_by_label("Value").fill("3")
    page.get_by_role("button", name="Add filter").click()
    expect(tiles(page)).to_have_count(8)


def test_by_keyboard_alone(visit):
    page = visit("search?c=shapes")
    expect(tiles(page)).to_have_count(12)
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    keys.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    keys.type("blue square")
    shown_first(page, "blue/square")
    keys.press("ArrowDown")
    expect(tiles(page).nth(0)).to_be_focused()
    keys.press("ArrowRight")
    expect(tiles(page).nth(1)).to_be_focused()
    keys.press("ArrowLeft")
    keys.press("Enter")
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer.get_by_role("heading", name="square.png")).to_be_visible()
    expect(viewer.get_by_text("96 × 96")).to_be_visible()
    expect(viewer.locator(".small").first).to_be_visible()
    keys.press("ArrowRight")
    expect(viewer.get_by_role("heading", name="square.png")).to_be_visible()
    keys.press("ArrowLeft")  # to the first one, where there is no button to the left
    keys.press("Escape")
    expect(viewer).to_have_count(0)
    expect(tiles(page).nth(0)).to_be_focused()
    keys.press("Enter")
    keys.press("m")
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_have_value("")
    keys.press("Escape")
    expect(page.locator(".chip")).to_have_count(0)
    keys.press("?")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
    keys.press("Escape")
    keys.press("4")
    expect(page.get_by_role("heading", name="Status")).to_be_visible()


# --- recognize


def test_labels_are_tried_as_they_are_typed_and_kept_as_a_set(visit):
    page = visit("recognize", refused=(409,))
    page.locator("input[type=file]").first.set_input_files(chosen(named("red", "circle"), ("torn.png", b"no picture")))
    expect(page.get_by_text("Now type what the pictures may show.")).to_be_visible()
    labels = page.get_by_label("Add a label")
    labels.press_sequentially("red circle, blue square, green tri")
    card = page.locator(".card", has=page.get_by_text("red-circle.png"))
    expect(card.get_by_role("heading", name="red circle")).to_be_visible()
    expect(card.locator(".bar-row")).to_have_count(3)
    expect(page.locator(".card", has=page.get_by_text("torn.png")).locator(".trouble")).to_contain_text("picture")
    page.get_by_role("button", name="Save as label set").click()
    page.get_by_label("Name").fill("signs")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("combobox", name="Label set")).to_have_value("signs")
    expect(page.locator(".labels-typed .tag")).to_have_text(["red circle", "blue square", "green tri"])
    expect(card.get_by_role("heading", name="red circle")).to_be_visible()
    page.get_by_role("button", name="Edit as labels").click()
    page.get_by_role("button", name="Save as label set").click()
    page.get_by_label("Name").fill("signs")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("already")


def test_who_types_is_not_disturbed_by_what_comes_late(visit):
    page = visit("search")
    late = []
    page.route("**/v1/labels", lambda route: late.append(route))
    page.goto(page.url.partition("#")[0] + "#/recognize")
    labels = page.get_by_label("Add a label")
    labels.press_sequentially("a ze")
    with page.expect_response("**/v1/labels"):
        late[0].fallback()
    page.wait_for_load_state("networkidle")
    page.keyboard.type("bra")
    expect(labels).to_have_value("a zebra")


def test_none_of_these(visit):
    page = visit("recognize")
    page.get_by_label("Add a label").fill("a zebra, a bowl of soup")
    give(page, "drop", named("red", "circle"))
    expect(page.get_by_role("heading", name="None of these")).to_be_visible()


def test_a_large_photograph_is_made_smaller_before_it_is_sent(visit):
    page = visit("recognize")
    file = io.BytesIO()
    Image.effect_noise((1400, 1000), 90).convert("RGB").save(file, "PNG")
    page.get_by_label("Add a label").fill("noise")
    with page.expect_request("**/v1/classify") as sent:
        give(page, "drop", ("large.png", file.getvalue()))
    assert len(sent.value.post_data) < len(file.getvalue()) / 2
    expect(page.locator(".bar-row")).to_have_count(1)


# --- collections


def test_a_collection_from_its_making_to_its_end(visit):
    page = visit("collections", refused=(422,))
    page.get_by_role("button", name="New collection").click()
    page.get_by_label("Name").fill("내 모음")  # a space is not allowed
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Name").fill("내-모음")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="내-모음")).to_be_visible()
    give(
        page,
        "drop",
        named("red", "circle"),
        ("torn.png", b"no picture"),
        ("notes.txt", b"words"),
        named("blue", "square"),
    )
    expect(page.get_by_text("2 added")).to_be_visible()
    failures = page.locator(".failures li")
    expect(failures).to_have_count(2)
    expect(failures.filter(has_text="notes.txt")).to_contain_text("no picture file")
    expect(failures.filter(has_text="torn.png")).to_contain_text("not a picture")
    expect(page.get_by_text("2 pictures")).to_be_visible()
    give(page, "drop", named("red", "circle"))
    expect(page.get_by_text("1 were there already")).to_be_visible()
    page.get_by_role("button", name="Search in it").click()
    expect(tiles(page)).to_have_count(2)
    page.go_back()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".shelf .card h2")).to_have_text(["shapes"])


def test_a_folder_of_the_server_is_taken_in_and_watched(visit, service):
    with httpx.Client(base_url=service.address, timeout=60) as client:
        client.post("/v1/collections", json={"name": "signs"}).raise_for_status()
        page = visit("collections/signs")
        page.get_by_role("button", name="Folder of the server").click()
        page.get_by_role("dialog").get_by_role("button", name="photos").click()
        page.get_by_role("dialog").get_by_role("button", name="signs").click()
        expect(page.get_by_role("dialog").locator(".place")).to_contain_text("photos/signs")
        page.get_by_role("button", name="Add this folder").click()
        job = page.locator(".jobs .job")
        expect(job).to_contain_text("done", timeout=20_000)
        expect(job).to_contain_text("2 new")
        failures = page.locator(".failures").last
        expect(failures).to_contain_text("1 could not be taken in")
        failures.locator("summary").click()
        expect(failures.locator("li")).to_contain_text(re.compile("torn.png.*is truncated"))
        expect(page.get_by_text("2 pictures")).to_be_visible()
        page.close()  # it would still fetch thumbnails
        client.delete("/v1/collections/signs").raise_for_status()


def test_near_duplicates(visit):
    page = visit("collections/shapes")
    page.get_by_role("button", name="Near-duplicates").click()
    panel = page.locator(".panel", has=page.get_by_text("nearly the same"))
    expect(panel.get_by_text("No near-duplicates").or_(panel.locator(".twins").first)).to_be_visible()
    panel.get_by_role("slider").fill("0.9")
    expect(panel.locator(".twins .small").nth(1)).to_be_visible()
    panel.locator(".twins .small").first.click()
    expect(page.get_by_role("dialog", name="Picture")).to_be_visible()


# --- the page as a whole


def test_status_tells_models_and_limits(visit):
    page = visit("status")
    expect(page.get_by_role("heading", name="anmok-mini")).to_be_visible()
    expect(page.get_by_text("Pictures in a request")).to_be_visible()
    expect(page.locator(".chart svg path.line").first).to_have_attribute(
        "d", re.compile("^M.*L")
    )  # asked a second time


@pytest.mark.parametrize("look", ["light", "dark"])
def test_texts_can_be_read_on_their_grounds(visit, look):
    page = visit("collections", color_scheme=look)
    expect(page.locator(".shelf .card").first).to_be_visible()
    pairs = [("ink", "paper"), ("soft", "paper"), ("soft", "raised"), ("soft", "sunk"), ("on-accent", "accent")]
    pairs += [("accent-deep", "accent-wash"), ("warn", "warn-wash"), ("accent", "paper"), ("paper", "warn")]
    for text, ground in pairs:
        assert contrast(*(color(page, name) for name in (text, ground))) >= 4.5, (text, ground)


def color(page, name: str) -> tuple[int, ...]:
    """As the browser shows it, in the look that it is in: red, green, blue."""
    told = page.evaluate(
        """name => {
          const shown = document.body.appendChild(document.createElement("i"));
          shown.style.color = `var(--${name})`;
          return getComputedStyle(shown).color;
        }""",
        name,
    )
    return tuple(int(part) for part in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", told).groups())


def contrast(*colors: tuple[int, ...]) -> float:
    """As WCAG has it."""

    def light(channel):
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted(sum(w * light(c / 255) for w, c in zip(weights, one, strict=True)) for one in colors)
    return (high + 0.05) / (low + 0.05)


def test_light_and_dark_by_the_button_and_remembered(visit):
    page = visit("collections", color_scheme="light")
    page.get_by_role("button", name="Dark look").click()
    dark = ("background-color", "rgb(22, 24, 21)")
    expect(page.locator("body")).to_have_css(*dark)  # the colours pass over into each other
    page.reload()
    expect(page.get_by_role("button", name="Light look")).to_be_visible()
    expect(page.locator("body")).to_have_css(*dark)


def test_korean_from_the_browser_and_by_the_button(visit):
    page = visit("search?c=shapes&q=빨간 동그라미", locale="ko-KR")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.get_by_role("link", name="알아보기")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("빨간 동그라미")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Recognize")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_both_languages_have_all_texts():
    texts = [
        set(re.findall(r'^  "?([\w.]+)"?:', (PAGE / f"{name}.js").read_text("utf-8"), re.M)) for name in ("en", "ko")
    ]
    assert texts[0] == texts[1]
    scripts = "\n".join(file.read_text("utf-8") for file in PAGE.iterdir() if file.name.endswith(".js"))
    used = set(re.findall(r'\bt\("([\w.]+)"', scripts))
    assert used <= texts[0]


def test_on_a_phone_nothing_is_wider_than_the_screen(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    for screen in SCREENS:
        page.goto(page.url.partition("#")[0] + f"#/{screen}")
        expect(page.locator("main .screen > *").last).to_be_visible()
        expect(page.locator("main .spinner.late")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, screen
    tabs = page.locator(".tabs").bounding_box()
    assert tabs["y"] + tabs["height"] == pytest.approx(740, abs=1)
    page.goto(page.url.partition("#")[0] + "#/search?c=shapes&q=red")
    tiles(page).first.tap()
    expect(page.get_by_role("button", name="More like this")).to_be_visible()
    facts = page.locator(".facts")
    assert facts.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_a_service_with_keys_asks_for_one(visit, serve):
    served = serve(models=("anmok-mini",), keys=True)
    key = served.key("page", "read", "write")
    with httpx.Client(base_url=served.address, timeout=60, headers={"Authorization": f"Bearer {key}"}) as client:
        fill(client)
    page = visit("search", address=served.address, refused=(401,))
    asked = page.get_by_role("dialog", name="A key is needed")
    expect(asked).to_contain_text("a key is needed")
    asked.get_by_label("Key", exact=False).first.fill("anmok_wrong_one")
    asked.get_by_role("button", name="Continue").click()
    expect(asked).to_contain_text("not known here")
    asked.get_by_label("Key", exact=False).first.fill(key)
    asked.get_by_role("button", name="Continue").click()
    expect(tiles(page)).to_have_count(12)
    expect(page.locator(".tile img.there").first).to_have_attribute("src", re.compile("^blob:"))
    assert page.evaluate("[sessionStorage.length, localStorage.getItem('anmok.key')]") == [1, None]
    page.reload()
    expect(tiles(page)).to_have_count(12)

    reader = served.key("reader")
    page.evaluate("key => sessionStorage.setItem('anmok.key', key)", reader)
    page.goto(f"{served.address}/#/collections/shapes")
    page.reload()
    expect(page.get_by_role("button", name="Search in it")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)


def test_a_busy_service_is_asked_again(visit):
    page = visit("collections", refused=(429,))
    refused = []

    def busy_once(route):
        if refused:
            return route.fallback()
        refused.append(route.request.url)
        body = '{"error": {"code": "busy", "message": "too many", "type": "", "param": null}}'
        return route.fulfill(status=429, headers={"Retry-After": "1"}, content_type="application/json", body=body)

    page.route("**/v1/search", busy_once)
    page.goto(page.url.partition("#")[0] + "#/search?c=shapes&q=red circle")
    expect(page.get_by_text("The service is busy")).to_be_visible()
    shown_first(page, "red/circle")
    assert len(refused) == 1


def test_a_service_that_is_gone_is_waited_for(visit):
    page = visit("search?c=shapes", refused=("ERR_INTERNET_DISCONNECTED",))
    expect(tiles(page)).to_have_count(12)
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("red circle")
    expect(page.locator("#offline")).to_be_visible()
    page.context.set_offline(False)
    shown_first(page, "red/circle")
    expect(page.locator("#offline")).to_be_hidden()


# --- its files


def test_files_are_answered_by_name_and_asked_for_again_only_when_changed(service):
    with httpx.Client(base_url=service.address) as client:
        first = client.get("/")
        assert first.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in first.headers["content-security-policy"]
        assert first.content == (PAGE / "index.html").read_bytes()
        again = client.get("/", headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert client.head("/").headers["etag"] == first.headers["etag"]
        for file in PAGE.iterdir():
            answer = client.get(f"/page/{file.name}")
            assert answer.content == file.read_bytes()
            assert answer.headers["content-encoding"] == "gzip"
            assert client.get(f"/page/{file.name}", headers={"Accept-Encoding": "identity"}).content == answer.content
            assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/page/", "/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/x.js", "/page/%00"]
)
def test_nothing_else_is_answered(service, path):
    host, _, port = service.address.removeprefix("http://").partition(":")
    with socket_to(host, int(port)) as channel:
        channel.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert channel.makefile("rb").readline().split()[1] == b"404"


def socket_to(host: str, port: int):
    import socket

    return socket.create_connection((host, port), timeout=10)


def test_no_file_names_another_origin():
    for file in PAGE.iterdir():
        found = set(re.findall(r"""(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s"']*""", file.read_text("utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, file.name
