"""The service under load, beside a plain FastAPI and transformers server: same model, same pictures, one run.

    python benchmarks/serve.py load [--model ViT-B-32 | --model FOLDER] [--clients 1 2 4 8 16 32 64] [--seconds 8]
        [--infinity PROGRAM]
    python benchmarks/serve.py steady [--share 0.7] [--seconds 30]
    python benchmarks/serve.py soak [--minutes 30] [--clients 8]
    python benchmarks/serve.py size [--models anmok-mini ViT-B-32 ViT-B-16 ViT-L-14]

`load`: so many clients ask again as soon as they are answered, with one picture or with 8 in a request; servers take
turns. Requests a second, p50 and p99 of the seconds that a client waits. How much of it is the encoder: what anmok's
and transformers' do alone, in this process, on as many pictures at a time as a request has, decoding included. For each
load of another server: the most that anmok does with a p99 no longer, how many times that is, and how many times it is
more than the encoder explains, which is what batching, decoding and queueing add or cost.
`steady`: requests come at random (Poisson) at a share of what the service can do at most, as users do; p50 and p99.
`soak`: minutes of mixed requests (pictures embedded, recognised, replaced in a collection, searched for by words);
errors, and the memory of the service and its decoders, every ten seconds.
`size`: what a machine does with each model: one client with one picture, 8 clients with one each, 8 words; memory.

Every embedding is compared with what the encoder gives offline (fp32), every other answer with the first of its kind: a
wrong one is counted as an error. The load comes from this process, over sockets of its own; it takes its share of the
same two cores, for all servers alike. ViT-B-32 has random weights, which cost the same.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import numpy as np
from clients import Load, photographs
from encode import random_checkpoint
from PIL import Image
from servers import anmok_server, form, infinity_server, plain_server, post
from timing import keep, machine, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servers import Server

PICTURES = 32  # different ones
KEPT = 8  # pictures in the collection of `soak`, replaced all the time
NEAR = 1e-3  # largest difference of a component that still counts as the same embedding
WORDS = ("a red bag", "a cat", "빨간 가방", "고양이", "a paper cup")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "steady", "soak", "size"))
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--models", nargs="+", default=["anmok-mini", "ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--clients", type=int, nargs="+")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="pictures in a request")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--infinity", metavar="PROGRAM", help="infinity_emb, to be run beside the others")
    parser.add_argument("--keep", metavar="NAME", help="write docs/benchmarks/NAME.json")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "size":
            facts = {"rows": [size(model, source(model, Path(folder) / model), options) for model in options.models]}
        else:
            run = {"load": load, "steady": steady, "soak": soak}[options.what]
            facts = run(options, source(options.model, Path(folder)), Path(folder))
    if options.keep:
        keep(options.keep, facts)


def source(model: str, folder: Path) -> str:
    """A folder, or anmok-mini, as it is; a size with random weights, written to a folder."""
    if model == "anmok-mini" or Path(model).is_dir():
        return model
    random_checkpoint(model, folder)
    return str(folder / "hf")


def embedding(server: Server, model: str, batch: int) -> Load:
    """Requests for embeddings of so many pictures each; right is what the encoder gives offline."""
    import anmok

    files = photographs(PICTURES)
    expected = anmok.load(model, precision="fp32").encode_image(files).vectors
    groups = [[(i + k) % PICTURES for k in range(batch)] for i in range(PICTURES)]

    def right(number: int, body: bytes) -> bool:
        return bool(np.abs(server.embeddings(body) - expected[groups[number]]).max() < NEAR)

    return Load(server.port, [server.request([files[i] for i in group]) for group in groups], right)


# --- load


def load(options: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    alone = {str(batch): encoders_alone(model, batch) for batch in options.batches}
    print(f"encoders alone, pictures a second by pictures at a time: {alone}", flush=True)
    rows: list[dict[str, Any]] = []
    with ExitStack() as running:
        servers = [running.enter_context(anmok_server(model, folder)), running.enter_context(plain_server(model))]
        if options.infinity:
            servers.append(running.enter_context(infinity_server(model, options.infinity)))
        for batch in options.batches:
            loads = {server.name: embedding(server, model, batch) for server in servers}
            for clients in options.clients or [1, 2, 4, 8, 16, 32, 64]:
                rows += taken_in_turns(loads, clients, batch, options)
        memory = {server.name: server.memory_mb() for server in servers}
    compared = at_equal_p99(rows, alone)
    for one in compared:
        print(json.dumps(one))
    return {"alone": alone, "rows": rows, "at_equal_p99": compared, "memory_mb": memory}


def taken_in_turns(
    loads: dict[str, Load], clients: int, batch: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    for _ in range(options.rounds):
        for name, one in loads.items():
            one.closed(clients, 1.0)  # warm
            found[name].append(one.closed(clients, options.seconds).facts(batch))
    rows = []
    for name, runs in found.items():
        row: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        speeds = [run["pictures_s"] for run in runs]
        row |= {"errors": sum(run["errors"] for run in runs), "lowest": min(speeds), "highest": max(speeds)}
        rows.append({"server": name, "pictures": batch, "clients": clients, **row})
        print(
            f"{name}, {batch} a request, {clients} clients: {row['pictures_s']:.1f} pictures/s, "
            f"p50 {row['p50_ms']:.0f} ms, p99 {row['p99_ms']:.0f} ms, {row['errors']} errors",
            flush=True,
        )
    return rows


def at_equal_p99(rows: Sequence[dict[str, Any]], alone: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """For each row of another server, the most of anmok's with a p99 no longer, and what of it the encoder explains."""
    compared = []
    for row in rows:
        ours = [
            one for one in rows
            if one["server"] == "anmok" and one["pictures"] == row["pictures"] and one["p99_ms"] <= row["p99_ms"]
        ]  # fmt: skip
        if row["server"] != "anmok" and ours:
            best = max(ours, key=lambda one: one["pictures_s"])
            speeds = alone[str(row["pictures"])]
            times, encoder = best["pictures_s"] / row["pictures_s"], speeds["anmok"] / speeds["transformers"]
            named = {key: row[key] for key in ("server", "pictures", "clients", "p99_ms")}
            compared.append({**named, "times": times, "encoder": encoder, "beyond": times / encoder})
    return compared


def encoders_alone(model: str, batch: int) -> dict[str, float]:
    """Pictures a second of an encoder, so many at a time, decoding included; without HTTP, without company."""
    import torch
    from references import declare_operators

    import anmok

    declare_operators()
    from transformers import AutoModel, AutoProcessor

    encoder = anmok.load(model, precision="fp32")
    theirs, processor = AutoModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)

    def in_transformers(files: list[bytes]) -> None:
        opened = [Image.open(io.BytesIO(content)).convert("RGB") for content in files]
        with torch.no_grad():
            theirs.get_image_features(**processor(images=opened, return_tensors="pt"))

    files = photographs(PICTURES)
    groups = [files[start : start + batch] for start in range(0, PICTURES, batch)]
    candidates = {
        "anmok": partial(_each, encoder.encode_image, groups),
        "transformers": partial(_each, in_transformers, groups),
    }
    return {name: PICTURES / timing.median for name, timing in take_turns(candidates, rounds=3).items()}


def _each(run: Callable[[list[bytes]], object], groups: list[list[bytes]]) -> None:
    for group in groups:
        run(group)


# --- steady


def steady(options: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with anmok_server(model, folder) as server:
        for batch in options.batches:
            one = embedding(server, model, batch)
            one.closed(32, 2.0)  # warm
            most = one.closed(32, options.seconds).facts(batch)["requests_s"]
            row = {"pictures": batch, "most_s": most, "share": options.share}
            row |= one.open(options.share * most, options.seconds).facts(batch)
            rows.append(row)
            print(
                f"{batch} a request, {row['requests_s']:.1f} requests/s of {most:.1f}: p50 {row['p50_ms']:.0f} ms, "
                f"p99 {row['p99_ms']:.0f} ms ({row['p99_ms'] / row['p50_ms']:.1f} times), {row['errors']} errors",
                flush=True,
            )
    return {"rows": rows}


# --- soak


def soak(options: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    clients, seconds, errors, memory = (options.clients or [8])[0], [], 0, []
    with anmok_server(model, folder) as server:
        one, start = mixed(server, model), time.perf_counter()
        while (spent := time.perf_counter() - start) < 60 * options.minutes:
            tally = one.closed(clients, 10)
            seconds += tally.seconds
            errors += tally.errors
            memory.append((round(spent), round(server.memory_mb(), 1)))
            print(f"{spent / 60:.1f} min, {len(seconds)} requests, {errors} errors, {memory[-1][1]:.0f} MB", flush=True)
        status = server.stop()
    later = memory[len(memory) // 3 :]
    facts = {
        "minutes": options.minutes,
        "clients": clients,
        "requests": len(seconds),
        "errors": errors,
        "p50_ms": 1000 * float(np.quantile(seconds, 0.5)),
        "p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
        "growth_mb_an_hour": 3600 * float(np.polyfit(*zip(*later, strict=True), 1)[0]) if len(later) > 1 else None,
        "exit": status,
        "memory_mb": memory,
    }
    print({key: value for key, value in facts.items() if key != "memory_mb"})
    return facts


def mixed(server: Server, model: str) -> Load:
    """Embedding, recognising, replacing in a collection and searching it, in turn; for each picture."""
    files, embed = photographs(PICTURES), embedding(server, model, 1)
    made = json.dumps({"name": "soak"}).encode()
    address = f"http://127.0.0.1:{server.port}/v1/collections"
    with urlopen(Request(address, made, {"Content-Type": "application/json"}), timeout=60):
        pass
    requests: list[bytes] = []
    for number, content in enumerate(files):
        search = {"collection": "soak", "query": WORDS[number % len(WORDS)], "top": 5}
        recognise = {"pictures": [base64.b64encode(content).decode()], "labels": WORDS}
        requests += [
            embed.requests[number],
            post("/v1/classify", "application/json", json.dumps(recognise).encode()),
            form("/v1/collections/soak/pictures", [(f"{number % KEPT}.jpg", content)], method="PUT"),
            post("/v1/search", "application/json", json.dumps(search).encode()),
        ]
    first: dict[int, object] = {}

    def right(number: int, body: bytes) -> bool:
        if number % 4 == 0:
            return embed.right(number // 4, body)
        answer = json.loads(body)
        if number % 4 == 1:
            ranked = [one["label"] for one in answer["results"][0]["predictions"]]
            return ranked == first.setdefault(number, ranked)
        if number % 4 == 2:
            return answer["results"] == [{"id": f"{number // 4 % KEPT}.jpg", "error": None}]
        hits = [hit["id"] for hit in answer["hits"]]
        return len(hits) == len(set(hits)) == 5

    asked = Load(server.port, requests, right)
    for request in requests[2 : 4 * KEPT : 4]:  # something to be found from the start
        asked.once(request)
    return asked


# --- size


def size(name: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, anmok_server(model, Path(home)) as server:
        pictures = embedding(server, model, 1)
        texts = [post("/v1/embed", "application/json", json.dumps({"texts": [word]}).encode()) for word in WORDS]
        words = Load(server.port, texts, lambda _, body: b"embedding" in body)
        row: dict[str, Any] = {"model": name}
        for what, one, clients in (("one", pictures, 1), ("eight", pictures, 8), ("words", words, 8)):
            one.closed(clients, 2.0)  # warm
            row[what] = one.closed(clients, options.seconds).facts()
        row["memory_mb"] = server.memory_mb()
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
