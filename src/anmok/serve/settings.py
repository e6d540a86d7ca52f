"""What a service serves, and the limits that keep it standing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anmok.errors import SettingsError
from anmok.processor import usable_cores

__all__ = ["MEGABYTE", "ServiceSettings"]

MEGABYTE = 1 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServiceSettings:
    """Everything that can be chosen when a service starts.

    `home`: folder with all that the service keeps: collections, label sets, recognisers, uploads, jobs, keys.
    `models`: names that requests may ask for, as `NAME` or `NAME=SOURCE` (SOURCE: a folder or a hub id); the first is
        the usual one. Each is loaded when it is first needed.
    `precision`: of the encoders; "auto" changes to the fastest that is near enough once it is known.
    `roots`: folders of pictures that clients may have indexed, with all below them.
    `host`, `port`: where it listens. Beyond loopback, keys are needed.
    `keys`: whether requests need a key; None: where `host` is not loopback.
    `origins`: web pages of other servers that may call the API (CORS), such as "https://shop.example".
    `hosts`: names that the service is reached by, for the check against rebinding; loopback's own are always known.
    `immich`: whether `/predict` and `/ping` are there for Immich. They need no key, because Immich cannot send one.
    `allow_urls`: whether requests may name pictures by http(s) address.
    `fetch_s`: seconds that one of them may take.
    `picture_bytes`, `request_bytes`: largest picture file and largest body, bytes.
    `metadata_bytes`: of one picture's metadata, as JSON.
    `bodies_mb`: of the bodies of all requests together; 0: four times the largest body. What does not fit waits a
        moment, and is told to come back (429) then.
    `pictures`, `texts`, `labels`: most of each in one request.
    `pixels`: a picture with more is refused before it is decoded.
    `decoders`: processes that decode pictures; 0: as many as there are processors.
    `decode_s`, `decode_mb`: what a decoder may take for one picture; it is stopped beyond.
    `batch`, `window_ms`: most items in a run of a model, and how long it is waited for more of them.
    `waiting`: items that may wait for a model; beyond, requests are told to come back (429).
    `request_s`: seconds after which a request is given up.
    `model_mb`: of loaded models together, those of recognisers included; the one longest unused goes first.
    `kept_open`: collections, label sets and recognisers that stay open between requests; the one longest unused is
        closed first.
    `connections`: that are open at a time; beyond, the one that has been idle longest is closed.
    `rate`: requests a minute for each key or client; 0: any number.
    """

    home: Path
    models: tuple[str, ...] = ("anmok-mini",)
    precision: str = "auto"
    roots: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    keys: bool | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    immich: bool = False
    allow_urls: bool = False
    fetch_s: float = 10.0
    picture_bytes: int = 20 * MEGABYTE
    request_bytes: int = 64 * MEGABYTE
    metadata_bytes: int = 64 << 10
    bodies_mb: int = 0
    pictures: int = 64
    texts: int = 256
    labels: int = 1000
    pixels: int = 50_000_000
    decoders: int = 0
    decode_s: float = 10.0
    decode_mb: int = 2048
    batch: int = 32
    window_ms: float = 4.0
    waiting: int = 512
    request_s: float = 60.0
    model_mb: int = 4096
    kept_open: int = 32
    connections: int = 512
    rate: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple(Path(os.path.abspath(root)) for root in self.roots))  # noqa: PTH100  ("." and ".." are no names)
        least: dict[str, float] = dict.fromkeys(
            ("picture_bytes", "request_bytes", "pictures", "texts", "labels", "pixels"), 1
        )
        least |= {"batch": 1, "waiting": 1, "decode_s": 0.1, "request_s": 0.1, "decode_mb": 256, "model_mb": 1}
        least |= {"kept_open": 1, "bodies_mb": 0, "connections": 1, "metadata_bytes": 2}
        least |= {"decoders": 0, "window_ms": 0, "rate": 0, "port": 0}
        problems = [
            f"{name} is {getattr(self, name)}, expected {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if self.bodies_bytes < self.request_bytes:
            told = f"bodies_mb is {self.bodies_mb}, and one body may have {self.request_bytes:,} bytes"
            problems.append(f"{told}: give more, or a smaller request_bytes")
        if not self.models:
            problems.append("no model is named: give at least one, such as anmok-mini")
        called = [_name_and_source(model)[0] for model in self.models]
        twice = sorted({name for name in called if called.count(name) > 1})
        problems += [f"two models are named {name!r}: give them names, NAME=SOURCE" for name in twice]
        names = [root.name for root in self.roots]
        problems += [f"{root} is no folder" for root in self.roots if not root.is_dir()]
        problems += [f"the root {root} has no name: give a folder below it" for root in self.roots if not root.name]
        if len(set(names)) != len(names):
            problems.append(f"two roots have the same name ({', '.join(sorted(names))}): rename one, or link to it")
        if problems:
            raise SettingsError("the service cannot start: " + "; ".join(problems))

    @cached_property
    def sources(self) -> dict[str, str]:
        """What requests call the models (of a folder without a name, its own) → what each is loaded by."""
        return dict(map(_name_and_source, self.models))

    @property
    def keys_required(self) -> bool:
        """Whether requests need a key."""
        return self.host not in LOOPBACK if self.keys is None else self.keys

    @property
    def bodies_bytes(self) -> int:
        """What all bodies may take together."""
        return self.bodies_mb * MEGABYTE or 4 * self.request_bytes

    @property
    def decoder_count(self) -> int:
        """How many processes decode."""
        return self.decoders or usable_cores()


def _name_and_source(model: str) -> tuple[str, str]:
    name, equals, source = model.partition("=")
    source = source if equals else model
    if Path(source).is_dir():
        path = Path(source).resolve()
        return (name if equals else path.name), path.as_posix()
    return name, source
