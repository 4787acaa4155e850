"""Content credentials (C2PA): a picture signed as made by AI, with a key that this home folder made for itself.

Nothing here uses the network. The certificate is vouched for by nobody, so readers say "valid, but untrusted": the
signature proves that nothing was changed since, not who signed. The prompt and names stay out of the credential.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner._version import __version__
from limner.errors import StorageFailed, WorkFailed
from limner.generation.metadata.ai_marks import AI_SOURCE_TYPE

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["PROVENANCE_LABEL", "Credential", "sign_png", "verify"]

PROVENANCE_LABEL = "org.limner.provenance"
_VALID_FOR = timedelta(days=7300)  # without a time-stamping authority a signature ends with its certificate
_ABSENT = "It carries no content credential."


@dataclass(frozen=True, slots=True)
class Credential:
    """What a picture's credential is worth. ``state``: absent, valid, invalid (changed since) or unreadable.

    ``trusted`` is whether a known authority vouches for the signer. ``says`` is all of it in plain words.
    ``provenance`` is Limner's own assertion, empty in the credentials of others and where the state is not valid.
    """

    state: str
    says: str
    trusted: bool = False
    ai_made: bool = False
    signer: str = ""
    made_with: str = ""
    problems: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def sign_png(data: bytes, home: Path, provenance: Mapping[str, Any] | None = None) -> bytes:
    """The PNG with a signed credential in it; pixels and texts stay as they are.

    ``provenance`` is plain JSON for the assertion ``org.limner.provenance``. Key and certificate are made on first use
    in ``home/credentials``. StorageFailed: they cannot be kept or read; WorkFailed: the picture cannot be signed.
    """
    import c2pa

    key, chain = _identity(home)
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [_created()]}}]
    if provenance:
        assertions.append({"label": PROVENANCE_LABEL, "data": dict(provenance)})
    manifest = {
        "claim_generator_info": [{"name": "Limner", "version": __version__}],
        "title": "AI generated picture",
        "format": "image/png",
        "assertions": assertions,
    }
    sink = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain, key, None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, context=_context()) as builder:
            builder.sign(signer, "image/png", io.BytesIO(data), sink)
    except c2pa.C2paError as failure:
        raise WorkFailed(
            f"The picture could not be signed: {failure}.",
            remedy=f"Move {_file(home)} away so that a new key is made, or set LIMNER_SIGN_IMAGES=false.",
            thing="credential",
        ) from failure
    return sink.getvalue()


def verify(data: bytes, media_type: str = "image/png") -> Credential:
    """Read the credential of a picture and check its signature and digests, offline."""
    import c2pa

    try:
        with c2pa.Reader(media_type, io.BytesIO(data), context=_context()) as reader:
            state = reader.get_validation_state() or "Invalid"
            results = reader.get_validation_results() or {}
            manifest = reader.get_active_manifest() or {}
    except c2pa.C2paError as failure:
        if "ManifestNotFound" in str(failure):
            return Credential("absent", _ABSENT)
        return Credential("unreadable", f"Its content credential cannot be read: {failure}.", problems=(str(failure),))
    return _judged(state, results, manifest)


def _judged(state: str, results: Mapping[str, Any], manifest: Mapping[str, Any]) -> Credential:
    failures = results.get("activeManifest", {}).get("failure", [])
    trusted = state == "Trusted"
    valid = trusted or state == "Valid"
    problems = tuple(_problem(failure) for failure in failures if failure["code"] != "signingCredential.untrusted")
    who = manifest.get("signature_info", {})
    signer = ", ".join(part for part in (who.get("common_name"), who.get("issuer")) if part)
    tools = [f"{tool.get('name', '')} {tool.get('version', '')}".strip() for tool in _tools(manifest)]
    assertions = {entry.get("label"): entry.get("data") or {} for entry in manifest.get("assertions", [])}
    if not valid:
        says = "Its content credential does not hold: " + "; ".join(problems or ("the reason is not known",)) + "."
    elif trusted:
        says = f"Its content credential holds, and its signer is trusted: {signer}."
    else:
        says = (
            "Its content credential holds: nothing was changed since it was signed. "
            f"Who signed is not proven: nobody vouches for the certificate of {signer or 'the signer'}."
        )
    return Credential(
        state="valid" if valid else "invalid",
        says=says,
        trusted=trusted,
        ai_made=valid and any(_made_by_ai(data) for label, data in assertions.items() if "actions" in str(label)),
        signer=signer,
        made_with=", ".join(tool for tool in tools if tool),
        problems=problems,
        provenance=assertions.get(PROVENANCE_LABEL, {}) if valid else {},
    )


def _tools(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = manifest.get("claim_generator_info")
    return named if isinstance(named, list) else [{"name": manifest.get("claim_generator", "")}]


def _made_by_ai(actions: Mapping[str, Any]) -> bool:
    return any(
        str(action.get("digitalSourceType", "")).lower().endswith("trainedalgorithmicmedia")
        for action in actions.get("actions", [])
    )


def _problem(failure: Mapping[str, Any]) -> str:
    if failure["code"] == "assertion.dataHash.mismatch":
        return "the file was changed after it was signed"
    return str(failure.get("explanation") or failure["code"])


def _created() -> dict[str, Any]:
    return {
        "action": "c2pa.created",
        "digitalSourceType": AI_SOURCE_TYPE,
        "softwareAgent": {"name": "Limner", "version": __version__},
    }


@cache
def _context() -> Any:
    import c2pa

    return c2pa.Context.from_dict(
        {
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            "builder": {"thumbnail": {"enabled": False}},
        }
    )


# --- the key and its certificate --------------------------------------------------------------------------------


def _file(home: Path) -> Path:
    return home / "credentials" / "signing.pem"


def _identity(home: Path) -> tuple[bytes, bytes]:
    """Key and certificate chain as PEM; made where there are none, or where the certificate has ended."""
    path = _file(home)
    try:
        if not path.exists():
            _create(path)
        text = path.read_bytes()
        key, chain = _parts(text)
        if _ended(chain):
            path.rename(path.with_name(f"ended-{secrets.token_hex(4)}.pem"))
            _create(path)
            key, chain = _parts(path.read_bytes())
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)  # copied here by hand, perhaps: nobody else may read it
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it holds no usable key and certificate"
        raise StorageFailed(
            f"The signing key in {path} cannot be used: {reason}.",
            remedy="Move the file away so that a new key is made, or set LIMNER_SIGN_IMAGES=false.",
            thing=str(path),
        ) from None  # the cause may quote the key
    return key, chain


def _parts(text: bytes) -> tuple[bytes, bytes]:
    mark = b"-----BEGIN CERTIFICATE-----"
    key, found, chain = text.partition(mark)
    if not found or b"PRIVATE KEY" not in key:
        raise ValueError
    return key, found + chain


def _ended(chain: bytes) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc < datetime.now(UTC)


def _create(path: Path) -> None:
    """Make a key and its certificate as one file, whole or not at all; the first of two processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(_new_identity())
            stream.flush()
            os.fsync(stream.fileno())
        try:
            path.hardlink_to(partial)
        except FileExistsError:
            return
    finally:
        partial.unlink(missing_ok=True)


def _new_identity() -> bytes:
    """Key, leaf and root as PEM. C2PA wants a leaf that did not sign itself; the root's key is thrown away at once."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("Limner self-made root"), _name("Limner on this machine")
    root = (
        _certificate(root_name, root_name, root_key, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(name, root_name, key, root_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + leaf.public_bytes(pem) + root.public_bytes(pem)


def _name(common: str) -> x509.Name:
    from cryptography import x509

    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Limner"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, issuer_key: EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in every})
