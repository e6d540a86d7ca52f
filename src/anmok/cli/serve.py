"""`anmok serve`: the HTTP API and the web page, and the keys of their clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli.options import Json
from anmok.cli.output import emit, say
from anmok.serve.settings import ServiceSettings

if TYPE_CHECKING:
    from anmok.serve.keys import Keys

__all__ = ["app"]

app = typer.Typer(
    help="Serve an HTTP API and a web page: recognise, search, collections, label sets.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
keys_app = typer.Typer(
    help="Keys of clients: needed where the service can be reached from elsewhere.", no_args_is_help=True
)
app.add_typer(keys_app, name="keys")

Home = Annotated[
    Path, typer.Option("--home", help="Folder of all that the service keeps.", metavar="FOLDER", show_default=True)
]
HOME = Path("anmok-service")


@app.callback()
def serve(
    context: typer.Context,
    home: Home = HOME,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model to serve, NAME or NAME=SOURCE; repeat for several. [default: anmok-mini]"
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", help="A folder of pictures that may be indexed from the page; repeat for several."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond loopback, keys are needed.")
    ] = ServiceSettings.host,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = ServiceSettings.port,
    keys: Annotated[
        bool | None, typer.Option("--keys/--no-keys", help="Whether requests need a key.", show_default=False)
    ] = None,
    host_name: Annotated[
        list[str] | None, typer.Option("--host-name", help="A name that it is reached by, beside loopback's own.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="A web site whose pages may call the API (CORS).")
    ] = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Let requests name pictures by address.")] = False,
    immich: Annotated[
        bool, typer.Option("--immich", help="Answer Immich's smart search, which cannot send a key.")
    ] = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16, int8 or auto.")] = ServiceSettings.precision,
    rate: Annotated[
        int, typer.Option(help="Requests a minute for each client; 0 for any number.")
    ] = ServiceSettings.rate,
    batch: Annotated[int, typer.Option(help="Most pictures in a run of the model.")] = ServiceSettings.batch,
    waiting: Annotated[
        int, typer.Option(help="Pictures that may wait; more are told to come back (429).")
    ] = ServiceSettings.waiting,
    decoders: Annotated[
        int, typer.Option(help="Processes that decode pictures; 0: as many as cores.")
    ] = ServiceSettings.decoders,
    bodies_mb: Annotated[
        int, typer.Option("--bodies-mb", help="Bodies of all requests together, MB; 0: four times the largest.")
    ] = ServiceSettings.bodies_mb,
    connections: Annotated[
        int, typer.Option(help="Connections that are open at a time; beyond, the one idle longest is closed.")
    ] = ServiceSettings.connections,
    model_mb: Annotated[
        int, typer.Option("--model-mb", help="Memory of loaded models together, MB.")
    ] = ServiceSettings.model_mb,
) -> None:
    """Serve an HTTP API and a web page on this machine.

    \b
    anmok serve --root photos/                          then open http://127.0.0.1:8000
    anmok serve keys add phone --scope read             a key, shown once
    anmok serve --host 0.0.0.0                          for others, who need keys
    """
    if context.invoked_subcommand is not None:
        return
    settings = ServiceSettings(
        home=home,
        models=tuple(model or ServiceSettings.models),
        precision=precision,
        roots=tuple(root or []),
        host=host,
        port=port,
        keys=keys,
        hosts=tuple(host_name or []),
        origins=tuple(origin or []),
        immich=immich,
        allow_urls=allow_urls,
        rate=rate,
        batch=batch,
        waiting=waiting,
        decoders=decoders,
        bodies_mb=bodies_mb,
        connections=connections,
        model_mb=model_mb,
    )
    _run(settings)


def _run(settings: ServiceSettings) -> None:
    import logging

    from anmok.serve.run import run

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if settings.keys_required and not _keys(settings.home).all():
        say("no key exists yet, so nobody can ask: anmok serve keys add NAME")
    run(settings, started=lambda address: say(f"anmok serves {address} · Ctrl-C stops it"))


@keys_app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write; repeat for both. [default: read]")] = None,
    rate: Annotated[int | None, typer.Option(help="Requests a minute; the service's own unless given.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Make a key. It is shown once and kept as a hash only."""
    token, key = _keys(home).add(name, scope or ["read"], rate)
    if json:
        emit({"name": key.name, "key": token, "scopes": list(key.scopes)})
    else:
        print(token)
        say(f"the key of {key.name}, which may {' and '.join(key.scopes)}; it is not shown again")


@keys_app.command("list")
def list_keys(home: Home = HOME, json: Json = False) -> None:
    """Whose keys there are, and what they may."""
    import time

    for key in _keys(home).all():
        if json:
            emit({"name": key.name, "id": key.id, "scopes": list(key.scopes), "created": key.created})
        else:
            print(f"{key.name}\t{'+'.join(key.scopes)}\tsince {time.strftime('%Y-%m-%d', time.gmtime(key.created))}")


@keys_app.command("remove")
def remove_key(name: Annotated[str, typer.Argument(help="Whose key.")], home: Home = HOME) -> None:
    """Take a key's rights away, at once."""
    _keys(home).remove(name)
    say(f"{name} has no key any more")


def _keys(home: Path) -> Keys:
    from anmok.serve.keys import Keys
    from anmok.serve.service import KEYS

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keys(home / KEYS)
