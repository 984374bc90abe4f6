"""A token provider: the token is in a file that something else renews, as Kubernetes does for service accounts."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def read_token(config: str) -> tuple[str, float]:
    """Return the token in the file ``config``, and when it expires: its claim ``exp``, seconds since the epoch.

    Raises OSError for a file that can not be read, ValueError for one without a JSON Web Token.
    """
    token = Path(config).read_text().strip()
    try:
        _, claims, _ = token.split(".")
        padded = claims + "=" * (-len(claims) % 4)
        return token, float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
    except (ValueError, KeyError, TypeError) as error:  # whose texts may show what stands there
        raise ValueError(f"{config} has no JSON Web Token with a claim exp ({type(error).__name__})") from None
