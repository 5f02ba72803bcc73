"""The assertion of the JWT bearer flow: a compact JWS signed with RS256 -> its claims, checked against a registered key."""

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from connector.sandbox.errors import OAuthError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    Key = RSAPublicKey
else:
    Key = object

MAX_ASSERTION = 16_384


def public_key(pem: str) -> Key:
    """A certificate or a public key in PEM text -> an RSA key. Imported where it is used: few orgs register one."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        if "BEGIN CERTIFICATE" in pem:
            found: Any = x509.load_pem_x509_certificate(pem.encode()).public_key()
        else:
            found = load_pem_public_key(pem.encode())
    except ValueError:
        raise ValueError("the certificate is neither a certificate nor a public key in PEM text") from None
    if not isinstance(found, RSAPublicKey):
        raise ValueError("the certificate holds no RSA key")  # noqa: TRY004
    return found


def claims(assertion: str) -> tuple[dict[str, Any], bytes, bytes]:
    """(claims, what was signed, signature), nothing of it trusted yet."""
    parts = assertion.split(".")
    if len(parts) != 3 or len(assertion) > MAX_ASSERTION:
        raise invalid()
    header, body = _object(parts[0]), _object(parts[1])
    if header.get("alg") != "RS256":
        raise invalid()
    return body, f"{parts[0]}.{parts[1]}".encode("utf-8", "surrogatepass"), _bytes(parts[2])


def check(key: Key, signed: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise invalid() from None


def invalid() -> OAuthError:
    return OAuthError("invalid_grant", "invalid assertion")  # [U] description


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        raise invalid() from None
    if not isinstance(found, dict):
        raise invalid()
    return found


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise invalid() from None
