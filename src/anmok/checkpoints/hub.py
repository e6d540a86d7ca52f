"""Fetching a checkpoint from the hub, only the files that its layout needs.

`huggingface_hub` does the work, so its variables hold: HF_HOME and HF_HUB_CACHE (where the cache
lies), HF_HUB_OFFLINE, HF_TOKEN, HF_ENDPOINT (a mirror). What is in the cache is used when the
hub cannot be reached.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.checkpoints.layouts import files_of, find_layout
from anmok.errors import CheckpointError, HubUnreachable, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["fetch", "is_repository"]

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
MARKS = ("open_clip_config.json", "config.json")  # one of them is in every repository that anmok loads


def is_repository(name: str) -> bool:
    """Whether a name can be a hub repository: `owner/name`, or `owner/name@revision`."""
    return REPOSITORY.fullmatch(name) is not None


def fetch(name: str, *, offline: bool | None = None, known: Collection[str] = ()) -> Path:
    """The local folder of a hub repository, fetched where the cache does not have it.

    Args:
        name: `owner/name`, with `@revision` for a branch, tag or commit.
        offline: True uses only the cache; None does as HF_HUB_OFFLINE says.
        known: names to propose where the repository does not exist.

    Raises:
        HubUnreachable: no network, or offline, and the cache does not have it.
        CheckpointError: the repository does not exist, is private or gated, or holds no checkpoint.
    """
    import huggingface_hub
    from huggingface_hub import constants

    repository, _, revision = name.partition("@")
    revision = revision or "main"
    if offline or (offline is None and constants.HF_HUB_OFFLINE):
        return _cached(repository, revision, "offline mode is on (HF_HUB_OFFLINE, or offline=True)")
    try:
        info = huggingface_hub.HfApi().model_info(repository, revision=revision)
    except Exception as error:  # the transport's own errors differ between versions of huggingface_hub
        reason = _explain(error, repository, revision, known)
        return _cached(repository, revision, reason)
    names = {sibling.rfilename for sibling in info.siblings or ()}
    wanted = files_of(find_layout(names, f"{repository} on the hub"), names)
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:
        reason = _explain(error, repository, revision, known)
        raise HubUnreachable(f"{repository} could not be fetched: {reason}. Try again; what came is kept") from error


def _cached(repository: str, revision: str, reason: str) -> Path:
    """The folder of a repository in the local cache."""
    import huggingface_hub

    for mark in MARKS:
        file = huggingface_hub.try_to_load_from_cache(repository, mark, revision=revision)
        if isinstance(file, str):
            return Path(file).parent
    raise HubUnreachable(
        f"{repository}: {reason}, and the cache ({huggingface_hub.constants.HF_HUB_CACHE}) does not have it. "
        "Ways out: load a local folder; copy the cache of a machine that has it and set HF_HOME; "
        "set HF_ENDPOINT to a mirror; or anmok.load('anmok-mini'), which is built in"
    )


def _explain(error: Exception, repository: str, revision: str, known: Collection[str]) -> str:
    """Why the hub could not be asked.

    Raises:
        CheckpointError: the hub was asked, and said no.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        raise CheckpointError(
            f"{repository} is gated: accept its terms on its page, then set HF_TOKEN to a token of that account"
        ) from error
    if isinstance(error, errors.RevisionNotFoundError):
        raise CheckpointError(f"{repository} has no revision {revision!r} on the hub") from error
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) in (401, 403, 404):
        raise CheckpointError(
            f"the hub has no {repository!r}, or it is private (then set HF_TOKEN).{did_you_mean(repository, known)}"
        ) from error
    if isinstance(error, errors.HFValidationError):
        raise CheckpointError(f"{repository!r} is not a name that the hub can have: {error}") from error
    status = _status(error)
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"the hub answered {status}" if status else f"the hub cannot be reached ({text})"


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
