"""What deploy/ and the page about operations say agrees with the service, and with one another."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer
import yaml
from click import Group

from anmok.cli.app import app
from anmok.serve import run, tracing_spans, works
from anmok.serve.metrics import Metrics
from anmok.serve.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGES = [ROOT / "docs" / name for name in ("operations.md", "service.md")]
JOBS_S = 10  # that jobs are waited for, by default of Jobs.close


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def instruction(name: str) -> list[str]:
    """The words of an instruction of the container file, in the form that is a list."""
    return json.loads(re.search(rf"^ *{name} (\[.*\])$", text("Containerfile"), re.MULTILINE).group(1))


def unit(name: str) -> list[str]:
    """The values of a directive of the unit."""
    return re.findall(rf"^{name}=(.*)$", text("anmok.service").replace("\\\n", ""), re.MULTILINE)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def container() -> list[str]:
    return instruction("ENTRYPOINT")


def service() -> list[str]:
    return [word for word in shlex.split(unit("ExecStart")[0]) if word != "$SERVE_OPTIONS"]


def shown() -> list[list[str]]:
    """Every command of anmok that the pages, and the head of the unit, tell to type."""
    lines = re.findall(r"^#   (.*)$", text("anmok.service"), re.MULTILINE)
    for page in PAGES:
        content = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", content, re.MULTILINE | re.DOTALL):
            lines += block.splitlines()
        lines += re.findall(r"`((?:\S*/)?anmok (?:serve|store)\b[^`\n]*)`", content)
    found = []
    for words in [shlex.split(line, comments=True) for line in lines]:
        if words[:2] == ["docker", "run"]:
            found.append(container() + words[words.index("anmok", words.index("no-new-privileges")) + 1 :])
        starts = [i for i, word in enumerate(words[:-1]) if re.fullmatch(r"(.*/)?anmok", word)]
        found += [words[i:] for i in starts if words[i + 1] in ("serve", "store")]
    return found


def parse(command: list[str]) -> None:
    """As the command line does, without running anything; UsageError where it would complain."""
    known, words = typer.main.get_command(app), command[1:]
    while isinstance(known, Group) and words and words[0] in known.commands:
        known, words = known.commands[words[0]], words[1:]
    known.make_context(command[0], words)


@pytest.mark.parametrize("command", [container(), service(), *shown()], ids=" ".join)
def test_commands_are_those_of_the_command_line(command):
    parse(command)


def test_an_option_that_is_not_there_would_be_seen():
    with pytest.raises(Exception, match="--no-such"):
        parse(["anmok", "serve", "--no-such"])
    assert len(shown()) >= 10


def test_both_need_keys_and_listen_where_the_others_expect_them():
    for command in (container(), service()):
        assert "--keys" in command
    port = option(container(), "--port")
    assert re.search(rf"^EXPOSE {port}$", text("Containerfile"), re.MULTILINE)
    assert f"http://127.0.0.1:{port}/healthz" in text("Containerfile")
    assert f"reverse_proxy {option(service(), '--host')}:{option(service(), '--port')} " in text("Caddyfile")
    assert f":{port} " in re.search(r"-p \S+ ", PAGES[0].read_text(encoding="utf-8")).group()


def test_what_is_kept_lies_where_it_may_be_written():
    volumes, words = instruction("VOLUME"), text("Containerfile")
    assert volumes == [option(container(), "--home"), re.search(r"ANMOK_HOME=(\S+)", words).group(1)]
    assert f"--mode 0700 {' '.join(volumes)}\n" in words
    assert option(service(), "--home") == f"/var/lib/{unit('StateDirectory')[0]}"
    assert f"ANMOK_HOME=/var/cache/{unit('CacheDirectory')[0]} " in unit("Environment")[0]
    assert service()[0] in text("anmok.service").split("[Unit]")[0].replace("/pip ", "/anmok ")


def test_stopping_may_take_as_long_as_it_does():
    longest = run.GRACE_S + 2 * works.PATIENCE + JOBS_S + tracing_spans.FLUSH_S
    assert longest < int(unit("TimeoutStopSec")[0])
    stopped = re.search(r"--stop-timeout (\d+)", PAGES[0].read_text(encoding="utf-8")).group(1)
    assert longest < int(stopped)
    assert unit("KillMode") == ["mixed"], "decoders would be ended before the requests that wait for them"


def test_decoders_may_bound_their_memory():
    refused = [calls for calls in unit("SystemCallFilter") if calls.startswith("~")]
    assert refused and not any("@resources" in calls for calls in refused)
    assert unit("OOMPolicy") == ["continue"]


def test_the_proxys_limits_are_those_of_the_service():
    proxy = text("Caddyfile")
    assert f"max_size {ServiceSettings.request_bytes >> 20}MiB" in proxy
    assert int(re.search(r"response_header_timeout (\d+)s", proxy).group(1)) > ServiceSettings.request_s
    assert int(re.search(r"keepalive (\d+)s", proxy).group(1)) < run.IDLE_S
    assert "flush_interval -1" in proxy and "write " not in re.sub("#.*", "", proxy)


def test_all_that_is_copied_into_the_image_is_there_and_not_left_out():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", text("Containerfile"), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "src" in sources and "requirements.lock" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, one) for one in kept), source


def families() -> dict[str, tuple[str, ...]]:
    """The names that a scrape shows → their labels."""
    kept = [one for one in vars(Metrics()).values() if hasattr(one, "_labelnames")]
    found = {}
    for metric in kept:
        endings = {"counter": ["_total"], "histogram": ["", "_bucket", "_sum", "_count"]}.get(metric._type, [""])
        found |= {metric._name + ending: (*metric._labelnames, "le", "instance") for ending in endings}
    return found


def test_alerts_and_the_page_name_metrics_and_labels_that_there_are():
    rules = yaml.safe_load(text("alerts.yml"))["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    known = families()
    page = PAGES[0].read_text(encoding="utf-8")
    said = " ".join([*(rule["expr"] for rule in rules), *(line for line in page.splitlines() if line.startswith("| "))])
    used = re.findall(r"\b(anmok_\w+)(?:\{([^}]*)\})?", said)
    assert len(used) >= 15
    for name, labels in used:
        assert name in known, name
        named = re.findall(r"(\w+)(?:=~?\"[^\"]*\")?(?:,|$)", labels)
        assert set(named) <= set(known[name]), (name, labels)
