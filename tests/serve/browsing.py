"""The web page in a real browser: pictures of shapes, files as one drops them, and what is shown."""

from __future__ import annotations

import base64
import io
import re

from PIL import Image, ImageDraw
from playwright.sync_api import expect

COLORS, SHAPES = ("red", "blue", "green", "yellow"), ("circle", "square", "triangle")

GIVE = """([kind, files]) => {
  const carried = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    carried.items.add(new File([bytes], name, {type: name.endsWith('.png') ? 'image/png' : ''}));
  }
  const how = {bubbles: true, cancelable: true};
  document.activeElement.dispatchEvent(kind === 'paste'
    ? new ClipboardEvent(kind, {...how, clipboardData: carried})
    : new DragEvent(kind, {...how, dataTransfer: carried}));
}"""  # what a browser does when files are dropped or pasted


def shape(color: str, kind: str) -> bytes:
    picture = Image.new("RGB", (96, 96), "white")
    brush = ImageDraw.Draw(picture)
    if kind == "circle":
        brush.ellipse((14, 14, 82, 82), fill=color)
    elif kind == "square":
        brush.rectangle((16, 16, 80, 80), fill=color)
    else:
        brush.polygon([(48, 12), (86, 82), (10, 82)], fill=color)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def named(color: str, kind: str) -> tuple[str, bytes]:
    return f"{color}-{kind}.png", shape(color, kind)


def chosen(*given: tuple[str, bytes]) -> list[dict[str, object]]:
    """Files for a file field."""
    return [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in given]


def give(page, kind, *given) -> None:
    """Drop or paste files."""
    page.evaluate(GIVE, [kind, [[name, base64.b64encode(content).decode()] for name, content in given]])


def fill(client) -> None:
    client.post("/v1/collections", json={"name": "shapes"}).raise_for_status()
    pictures = [
        {
            "id": f"{color}/{kind}.png",
            "picture": base64.b64encode(shape(color, kind)).decode(),
            "metadata": {"corners": corners},
        }
        for color in COLORS
        for corners, kind in zip((0, 4, 3), SHAPES, strict=True)
    ]
    client.post("/v1/collections/shapes/pictures", json={"pictures": pictures}).raise_for_status()


def tiles(page):
    return page.locator(".tile")


def shown_first(page, picture: str) -> None:
    """The best hit is this one."""
    expect(page.locator(".tile img").first).to_have_attribute("src", re.compile(re.escape(picture.replace("/", "%2F"))))
    expect(tiles(page).first).to_have_accessible_name(re.compile("match"))
