"""What proves to a receiver that a message is ours, as Standard Webhooks has it."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
LEAST, MOST = 24, 64
"""How many bytes a secret has."""


def make_secret() -> str:
    """A new secret, as the receiver gets it: 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_secret(text: str) -> bool:
    """Whether the text is a secret that is long enough: the library takes one of a single byte, too."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and LEAST <= len(raw) <= MOST


def sign(name: str, at: datetime, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers for a message: its id, when it is sent, and a signature with each of the secrets.

    `at` is UTC; the library takes any other time for that, too.
    """
    from standardwebhooks.webhooks import Webhook

    signatures = [Webhook(key).sign(name, at, body.decode()) for key in keys]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
