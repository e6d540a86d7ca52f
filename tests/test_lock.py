"""One lock for both commands: whatever is installed beside anmok has exactly the version that it names."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OURS = {"anmok", "pip", "setuptools", "wheel"}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                found[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    return found


def test_lock_pins_exact_versions():
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.match(r"^[A-Za-z0-9._-]+(\[.*\])?==[^=<>]+( ;.*)?$", line), line


def test_installed_versions_are_the_locked_ones():
    import sys

    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("not running in the .venv that make test creates")
    pins = locked()
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if name in OURS:
            continue
        assert name in pins, f"{name} is installed but not in requirements.lock: make lock"
        assert distribution.version.split("+")[0] == pins[name].split("+")[0], name
