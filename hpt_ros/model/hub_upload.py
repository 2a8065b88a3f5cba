# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A folder to a repository of the Hugging Face hub, in one commit, with a card whose header the hub reads.

Login, tokens and the endpoint are huggingface_hub's own: ``hf auth login``, HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.errors import Code, HptError
from hpt_ros.structured import dump_yaml, load_yaml_mapping

CARD = "README.md"
_HEADER = re.compile(r"---\r?\n(.*?)\r?\n---\r?\n?", re.DOTALL)


class PushError(HptError):
    """The hub, or what is between, does not take it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is uploaded.

    Attributes:
        root: the folder.
        files: paths below it, but for the card.
        card: text of the card, with its header.
        kind: "model" or "dataset".
        tag: of the commit; empty: none.
    """

    root: Path
    files: tuple[Path, ...]
    card: str
    kind: str
    tag: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by its path in the repository, the card first."""
        found = {CARD: len(self.card.encode())}
        return found | {path.relative_to(self.root).as_posix(): path.stat().st_size for path in self.files}


def with_header(text: str, values: Mapping[str, Any], *, where: str) -> str:
    """Return a card with a header; what its own header says stays, lists are joined.

    Args:
        text: of the card, with or without a header.
        values: of the header.
        where: names the card in errors.

    Raises:
        HptError: its header is no YAML mapping.
    """
    header, body = read_header(text, where=where)
    merged: dict[str, Any] = {**values, **header}
    for key, value in values.items():
        if isinstance(value, list) and isinstance(header.get(key), list):
            merged[key] = list(dict.fromkeys([*header[key], *value])) if key == "tags" else header[key]
    return f"---\n{dump_yaml(merged).rstrip()}\n---\n\n{body.lstrip()}"


def read_header(text: str, *, where: str) -> tuple[dict[str, Any], str]:
    """Return a card's header and what follows it.

    Raises:
        HptError: the header is no YAML mapping.
    """
    found = _HEADER.match(text)
    if not found:
        return {}, text
    return load_yaml_mapping(found.group(1), where=f"the header of {where}"), text[found.end() :]


def check_repository(name: str) -> str:
    """Return the name of a repository, user/name.

    Raises:
        PushError: the hub has no such names.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    cause: object = None if name.count("/") == 1 else "the user or organisation is missing"
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        cause = error
    if cause is not None:
        raise PushError(
            Code.INVALID,
            "the repository",
            name,
            expected="user/name as on the hub",
            remedy="correct it",
            cause=cause,
        )
    return name


def push(upload: Upload, repository: str, *, private: bool, message: str) -> str:
    """Upload; makes the repository if it is not there. Returns the address of the commit.

    Raises:
        PushError: no login, no permission, no network, or the hub refuses.
    """
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    if huggingface_hub.get_token() is None:
        raise PushError(
            Code.MISSING, "this machine", problem="has no login to the Hugging Face hub",
            remedy="run 'hf auth login', or set HF_TOKEN",
        )  # fmt: skip
    api = HfApi()
    operations = [CommitOperationAdd(CARD, upload.card.encode())]
    operations += [
        CommitOperationAdd(path.relative_to(upload.root).as_posix(), str(path)) for path in upload.files
    ]
    try:
        api.create_repo(repository, repo_type=upload.kind, private=private, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message=message, repo_type=upload.kind)
        if upload.tag:
            _move_tag(api, repository, upload)
    except HfHubHTTPError as error:
        raise _refuse(repository, error) from error
    except (HTTPError, OSError) as error:  # of the network, or of a file
        raise PushError(
            Code.UNAVAILABLE, "the hub", api.endpoint, problem="cannot be reached at {value}, or does not answer",
            remedy="check the network and HF_ENDPOINT, and push again", cause=error,
        ) from error  # fmt: skip
    return str(commit.commit_url)


def _move_tag(api: Any, repository: str, upload: Upload) -> None:
    """Let the tag name the newest commit."""
    refs = api.list_repo_refs(repository, repo_type=upload.kind)
    if any(tag.name == upload.tag for tag in refs.tags):
        api.delete_tag(repository, tag=upload.tag, repo_type=upload.kind)
    api.create_tag(repository, tag=upload.tag, repo_type=upload.kind)


def _refuse(repository: str, error: Any) -> PushError:
    """Return what the hub's status means."""
    status = error.response.status_code
    said = error.server_message or ""
    problem, remedy = {
        401: (
            "is not open to this login: the token is not valid",
            "run 'hf auth login' again, or correct HF_TOKEN",
        ),
        403: (
            "is not open to this login: it may not write there",
            "name a repository of yours, or take a token that may write",
        ),
    }.get(
        status,
        (f"was refused by the hub with status {status}", "correct what the hub states, or push again later"),
    )
    return PushError(
        Code.UNAVAILABLE,
        f"the repository {repository!r}",
        status,
        problem=problem,
        remedy=remedy,
        cause=said or None,
    )
