"""The TLS of a server: what it shows, whether this client believes it, and what a mismatch means."""

import contextlib
import ssl
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lockservice_client.lockctl.finding import Finding, fail, ok, warn
from lockservice_client.lockctl.reach import Address

DAYS_MIN: Final = 14
# OpenSSL has a flag for it that Python does not name.
_NO_CHECK_TIME: Final = 0x200000
# OpenSSL's numbers of what is wrong with a certificate.
_ADVICE: Final = {
    9: "its time begins later: check the clocks of both machines",
    10: "renew it, and write it over the server's --tls-cert: files are read again, no restart is needed",
    18: "it has signed itself: give exactly this certificate, or the CA's that shall sign it, by --ca",
    19: "another CA has signed it: give that one's certificate by --ca",
    20: "another CA has signed it: give that one's certificate by --ca",
    21: "another CA has signed it, or the server does not send the certificates in between",
    62: "call the server by a name that the certificate has, or have one issued for this name",
    64: "call the server by a name that the certificate has, or have one issued for this address",
}
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: give --cert and --key",
    "UNKNOWN_CA": "the server does not know the CA of this client's certificate: see its --tls-client-ca",
    "CERTIFICATE_EXPIRED": "this client's certificate has run out: renew it",
    "BAD_CERTIFICATE": "the server does not accept this client's certificate: see its --tls-client-ca",
}


class Files(NamedTuple):
    """PEM files of this client; ca or cert turns TLS on."""

    ca: str | None
    cert: str | None
    key: str | None

    @property
    def used(self) -> bool:
        """Whether this client speaks TLS."""
        return bool(self.ca or self.cert)


def look(address: Address, host: str, files: Files) -> Finding:
    """Shakes hands as a client does, and says what came of it."""
    if not files.used:
        return _plaintext(address)
    try:
        context = ssl.create_default_context(cafile=files.ca)
        if files.cert:
            context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        return fail(
            "tls",
            f"the files of this client: {error}",
            "check --ca, --cert and --key: PEM files that belong together",
        )
    try:
        shown, how = _shake(address, host, context)
    except ssl.SSLCertVerificationError as error:
        advice = _ADVICE.get(error.verify_code, "check --ca, and that the server's certificate names this host")
        return fail("tls", f"{address}: {error.verify_message}{_shown(address, host)}", advice)
    except ssl.SSLError as error:
        return _refused(address, error)
    except OSError as error:
        advice = "if the server asks for a client certificate, give --cert and --key that it knows; see its log"
        return fail("tls", f"{address} {error}", advice)
    return _age(address, shown, how)


def _plaintext(address: Address) -> Finding:
    """Finds out whether the server would rather have TLS."""
    with contextlib.suppress(OSError):
        _shake(address, "", _unchecked())
        advice = "give its CA's certificate by --ca or LOCKSERVICE_CA; without it this client speaks plaintext"
        return fail("tls", f"{address} speaks TLS, and this client does not", advice)
    if not address.port or address.host.startswith("127.") or address.host == "::1":
        return ok("tls", "not used, on this machine alone")
    advice = "whoever is on the way can read and change calls: give the server --tls-cert, and this client --ca"
    return warn("tls", f"not used: everything goes to {address} in the clear", advice)


def _unchecked() -> ssl.SSLContext:
    """Makes a context that believes everybody: only to look, never to send anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shake(address: Address, host: str, context: ssl.SSLContext) -> tuple[dict[str, Any], str]:
    """Returns the server's certificate, if it was verified, and the version of TLS. Raises OSError."""
    context.set_alpn_protocols(["h2"])
    with address.connect() as plain, context.wrap_socket(plain, server_hostname=host or None) as secure:
        shown, how = dict(secure.getpeercert() or {}), secure.version() or "TLS"
        # A server that does not like this client's certificate says so after the handshake, instead of HTTP/2.
        with contextlib.suppress(TimeoutError):
            if context.verify_mode is not ssl.CERT_NONE and not secure.recv(1):
                raise ConnectionError("ends the connection after the handshake")
        return shown, how


def _refused(address: Address, error: ssl.SSLError) -> Finding:
    reason = error.reason or str(error)
    for alert, advice in _ALERTS.items():
        if alert in reason:
            return fail("tls", f"{address} refuses this client: {reason}", advice)
    advice = "the server speaks plaintext: leave out --ca and --cert, or give the server --tls-cert and --tls-key"
    return fail("tls", f"{address} does not answer with TLS: {reason}", advice)


def _shown(address: Address, host: str) -> str:
    """Describes a certificate that is not believed, for people to compare; empty when that cannot be done."""
    with contextlib.suppress(OSError, ValueError):
        with address.connect() as plain, _unchecked().wrap_socket(plain, server_hostname=host) as secure:
            der = secure.getpeercert(binary_form=True) or b""
        # It is made its own authority, whatever its age, since Python decodes only what it has verified.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(der))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        shown, _ = _shake(address, host, context)
        return f" ({describe(shown)})"
    return ""


def describe(shown: dict[str, Any]) -> str:
    """Says who signed a certificate, whom it names, and until when it is good."""
    issuer = {name: text for part in shown.get("issuer", ()) for name, text in part}
    by = issuer.get("commonName") or issuer.get("organizationalUnitName") or issuer.get("organizationName", "?")
    names = ", ".join(text for _, text in shown.get("subjectAltName", ())) or "no names"
    return f"issued by {by} for {names}, good until {shown.get('notAfter', '?')}"


def _age(address: Address, shown: dict[str, Any], how: str) -> Finding:
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    days = (ends - datetime.now(UTC)).total_seconds() / 86_400
    found = f"{address}, {how}, {describe(shown)}: {days:.0f} days left"
    if days < DAYS_MIN:
        return warn("tls", found, _ADVICE[10])
    return ok("tls", found)
