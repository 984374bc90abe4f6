"""The file keeps the contract of every token provider, and its own."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from file_token import read_token

from pipeline.testing.token_contract import TokenProviderContract


def write_token(file: Path, **claims: object) -> str:
    """Write an unsigned token, and return it."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    token = f"{b'.'.join(parts).decode()}."
    file.write_text(f"{token}\n")
    return token


class TestFileToken(TokenProviderContract):
    """What all token providers promise."""

    entry_point = "file_token:read_token"

    def make_config(self, folder: Path) -> str:
        """A file with a token for a minute."""
        write_token(folder / "token", sub="worker", exp=int(time.time()) + 60)
        return str(folder / "token")

    def make_broken_config(self, folder: Path) -> str:
        """No file."""
        return str(folder / "missing")


def test_a_token_that_was_renewed_is_the_one_that_is_returned(tmp_path: Path) -> None:
    """Nothing is kept from one call to the next."""
    for end_s in (2_000_000_000, 2_100_000_000):
        token = write_token(tmp_path / "token", sub="worker", exp=end_s)
        assert read_token(str(tmp_path / "token")) == (token, float(end_s))


@pytest.mark.parametrize("text", ["", "secret", "secret.secret.secret", "a.bnVsbA.c", "a.e30.c", "a.b.c.d"])
def test_what_is_no_token_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    """The error is logged, and a file of secrets that is named by mistake is none of the log's business."""
    (tmp_path / "token").write_text(text)
    with pytest.raises(ValueError, match="has no JSON Web Token with a claim exp") as refused:
        read_token(str(tmp_path / "token"))
    assert "secret" not in str(refused.value).replace(str(tmp_path), "")
