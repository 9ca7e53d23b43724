"""Who may see what on the console, and which requests of browsers are taken."""

from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from lockservice.credentials import EVERYBODY, Credentials, Principal
from lockservice.errors import CredentialMissing
from lockservice.setting_types import is_loopback

# A page of another site cannot send it without asking this server first, which never allows it.
OWN_HEADER: Final = "X-Lockservice-Console"
_BEARER: Final = "Bearer "
# Whoever comes without a credential where none is asked for, and yet may reach the port from other machines.
_PASSER_BY: Final = Principal("", "", (), frozenset())


class Visitor(NamedTuple):
    """Who a request comes from.

    Attributes:
        principal: what it may touch.
        names: whether it may see resources at all.
    """

    principal: Principal
    names: bool

    @property
    def operator(self) -> bool:
        """Whether it may take leases away."""
        return self.names and "operator" in self.principal.roles


class Access:
    """Decides it from the settings.

    With credentials, a bearer token is asked for. Without, whoever reaches the console is trusted as with gRPC:
    everybody on the own machine, and everybody at all if the service was told --insecure. An ops port that other
    machines reach though nobody said so shows the shards, and neither names nor buttons.

    Args:
        addr: where the console is served, HOST:PORT.
        insecure: everybody may do everything.
        credentials: None where none are configured.
    """

    def __init__(self, addr: str, *, insecure: bool, credentials: Credentials | None) -> None:
        self._host = addr.rpartition(":")[0].strip("[]").lower()
        self._trusting = insecure or is_loopback(addr)
        self._credentials = credentials

    def visitor(self, request: web.Request) -> Visitor:
        """Returns who asks.

        Raises:
            web.HTTPForbidden: the request was made by a page of another site.
            CredentialMissing: there is none, or not a known one.
        """
        self._refuse_other_sites(request, named=self._credentials is not None)
        if self._credentials is None:
            return Visitor(EVERYBODY, names=True) if self._trusting else Visitor(_PASSER_BY, names=False)
        kind, token = self._token(request)
        if kind != _BEARER or not token:
            raise CredentialMissing("a bearer token is required")
        return Visitor(self._credentials.identify(token, ()), names=True)

    def _token(self, request: web.Request) -> tuple[str, str]:
        given = request.headers.get("Authorization", "")
        return given[: len(_BEARER)], given[len(_BEARER) :]

    def _refuse_other_sites(self, request: web.Request, *, named: bool) -> None:
        """Refuses what a browser sends for another site.

        Where a token is needed, no other site has it. Where none is, whoever the browser thinks this server is must
        be an address or a name of this machine: a site may have its own name lead here.
        """
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        if not named and not self._is_own(host):
            raise web.HTTPForbidden(text=f"the console is not served as {host!r}: use its address or localhost\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            raise web.HTTPForbidden(text="this request comes from the page of another site\n")
        if OWN_HEADER not in request.headers:
            raise web.HTTPForbidden(text=f"the header {OWN_HEADER} is missing\n")

    def _is_own(self, host: str) -> bool:
        if host in {"localhost", self._host}:
            return True
        try:
            ip_address(host)
        except ValueError:
            return False
        return True
