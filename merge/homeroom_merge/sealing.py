"""Secrets encrypted at rest: AES-256-GCM under one of several keys, bound to the feed and the name they were given to.

Unlike Fernet, GCM takes what a secret is bound to as associated data: a row copied to another feed does not open.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homeroom_merge.refusal import RefusedError

KEY_BYTES = 32
KEYS_MAX = 16
_NONCE_BYTES = 12
_HOW_TO_MAKE = "make one with: openssl rand -base64 32"


class SealError(RefusedError):
    """A secret that cannot be encrypted or opened; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is kept. `key_id`: under which key; `ciphertext`: the nonce before it."""

    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by id, the newest first: it encrypts, all open. `where`: how people call the place they come from."""

    keys: Mapping[str, bytes] = field(repr=False)
    where: str

    @property
    def newest(self) -> str:
        return next(iter(self.keys))

    def seal(self, feed: str, name: str, secret: str) -> Sealed:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = AESGCM(self.keys[self.newest]).encrypt(nonce, secret.encode(), _bound_to(feed, name))
        return Sealed(self.newest, nonce + ciphertext)

    def unseal(self, feed: str, name: str, sealed: Sealed) -> str:
        """The secret, if it was given to this feed under this name. Raises SealError."""
        key, anew = self.keys.get(sealed.key_id), f"or set it anew: homeroom-merge secrets set {feed} {name}"
        if key is None:
            raise SealError(
                f"the secret {name} of {feed} was encrypted with the key {sealed.key_id}, which is not in {self.where}:"
                f" put that key there, after the newest, {anew}"
            )
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, ciphertext, _bound_to(feed, name)).decode()
        except (InvalidTag, ValueError):
            raise SealError(
                f"what is kept as the secret {name} of {feed} was altered, or belongs to another feed or name: "
                f"put the right row back, {anew}"
            ) from None


def keyring_of(text: str, where: str) -> Keyring:
    """Keys of 32 bytes in Base64, apart by spaces, commas or lines, the newest first. Raises SealError."""
    words = text.replace(",", " ").split()
    if not words or len(words) > KEYS_MAX:
        raise SealError(f"{where} holds {len(words)} keys, not 1 to {KEYS_MAX}; {_HOW_TO_MAKE}")
    keys = [_key(word, place, where) for place, word in enumerate(words, 1)]
    return Keyring({_id_of(key): key for key in keys}, where)


def _key(word: str, place: int, where: str) -> bytes:
    """Never repeats what stands there."""
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SealError(f"key {place} of {where} is not {KEY_BYTES} bytes in Base64; {_HOW_TO_MAKE}")
    return key


def _id_of(key: bytes) -> str:
    """A name for a key that says nothing of it."""
    return hashlib.sha256(b"homeroom-merge key id\0" + key).hexdigest()[:12]


def _bound_to(feed: str, name: str) -> bytes:
    return json.dumps([feed, name]).encode()
