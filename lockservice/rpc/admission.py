"""Who gets in: whether calls are wanted, who makes them, and whether the method and the name are for that caller."""

import random
from typing import TYPE_CHECKING, Final

from lockservice.audit import Audit
from lockservice.credentials import EVERYBODY, Credentials, Principal
from lockservice.errors import CredentialMissing, Denied, Draining, ResourceForbidden
from lockservice.limits import REFUSAL_MS_MAX, REFUSAL_MS_MIN
from lockservice.quotas import Quotas

if TYPE_CHECKING:
    from lockservice.rpc.handlers import Context

_AUTHORIZATION: Final = "authorization"
_BEARER: Final = "bearer"
# Calls and operations that keep or end what their caller has: see Quotas.call.
_KEEPING: Final = frozenset({"Renew", "Release", "RenewClaim", "Settle", "renew", "release", "renew_claim", "settle"})


class Admission:
    """Decides about every call of a server.

    Args:
        credentials: who may call; None: everybody.
        quotas: how much they may call.
        audit: is told who was refused.
    """

    def __init__(self, credentials: Credentials | None, quotas: Quotas, audit: Audit) -> None:
        self.credentials = credentials
        self.quotas = quotas
        self.audit = audit
        self.closed = False

    def close(self) -> None:
        """Lets nobody in any more, since this replica goes away."""
        self.closed = True

    def gate(self, method: str, role: str) -> "Gate":
        """Makes the gate of a method, for callers that have a role."""
        return Gate(self, method, role)


class Gate:
    """Stands before one method."""

    def __init__(self, admission: Admission, method: str, role: str) -> None:
        self._admission = admission
        self._method = method
        self._role = role

    def admit(self, context: "Context") -> Principal:
        """Returns who calls.

        Raises:
            Draining: no calls are wanted any more.
            CredentialMissing, ResourceForbidden: nobody who is known, or not for this method.
            CallsExceeded: somebody who calls too often.
        """
        if self._admission.closed:
            raise Draining("this replica is going away")
        credentials = self._admission.credentials
        if credentials is None:
            return EVERYBODY
        caller = self.identify(context, credentials)
        try:
            self._admission.quotas.call(caller.namespace, keeps=self._method in _KEEPING)
        except Denied as error:
            error.who = caller.name
            raise
        return caller

    def identify(self, context: "Context", credentials: Credentials) -> Principal:
        """Returns who calls. Raises CredentialMissing, ResourceForbidden."""
        token = _token(context)
        caller = credentials.identify(token, _identities(context) if token is None else ())
        if self._role not in caller.roles:
            error = ResourceForbidden(f"this credential has not the role {self._role}, which {self._method} needs")
            error.who = caller.name
            raise error
        return caller

    def tell(self, error: Exception, context: "Context", caller: Principal | None, method: str = "") -> None:
        """Tells the audit log of an error, if it is one of those that it is about.

        Args:
            error: any.
            context: of the call.
            caller: who it was, if that is known.
            method: what was called, if it was not this one.
        """
        if isinstance(error, Denied):
            name = caller.name if caller is not None else error.who
            self._admission.audit.refused(name, method or self._method, error.resource, str(error), context.peer())

    def of_stream(self, context: "Context", caller: Principal) -> "StreamGate":
        """Makes the gate for the operations of a stream that was let in."""
        return StreamGate(self, self._admission, context, caller)


class StreamGate:
    """Stands before the operations of one stream. Who calls is asked again only when the credentials have changed."""

    def __init__(self, gate: Gate, admission: Admission, context: "Context", caller: Principal) -> None:
        self._gate = gate
        self._admission = admission
        self._context = context
        self._caller = caller
        self._version = admission.credentials.version if admission.credentials is not None else 0

    def admit(self, kind: str) -> Principal:
        """Returns who asks for an operation of a kind. Raises what Gate.admit raises."""
        if self._admission.closed:
            raise Draining("this replica is going away")
        credentials = self._admission.credentials
        if credentials is None:
            return EVERYBODY
        if credentials.version != self._version:
            self._caller = self._gate.identify(self._context, credentials)
            self._version = credentials.version
        self._admission.quotas.call(self._caller.namespace, keeps=kind in _KEEPING)
        return self._caller

    def tell(self, error: Exception, kind: str) -> None:
        """Tells the audit log of the error of an operation, as Gate.tell does of that of a call."""
        self._gate.tell(error, self._context, self._caller, f"Session {kind}")


def kept_back_s() -> float:
    """Says for how many seconds to keep back the refusal of somebody who calls too often.

    A refusal costs as much as an answer. Were it given at once, a few callers that call again at every answer would
    take all processor time from the others. They are kept back for different times, so that they do not come back
    together.
    """
    return random.uniform(REFUSAL_MS_MIN, REFUSAL_MS_MAX) / 1000  # noqa: S311  no secret


def own(caller: Principal, name: str) -> str:
    """Returns a resource or an event key that the caller may use. Raises ResourceForbidden."""
    if not caller.may_touch(name):
        raise ResourceForbidden(f"this credential may not use {name}", name)
    return name


def _token(context: "Context") -> str | None:
    values = [value for name, value in context.invocation_metadata() or () if name == _AUTHORIZATION]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != _BEARER:
        raise CredentialMissing("the metadata authorization must be there once, as: Bearer TOKEN")
    return token.strip()


def _identities(context: "Context") -> list[str]:
    """Returns the names of the verified client certificate: DNS names and URIs, or the common name without any."""
    found = context.auth_context()
    names = [*found.get("peer_dns", ()), *found.get("peer_uri", ())]
    # Authorities check the alternative names that they sign, and often not the common name beside them.
    if not found.get("x509_subject_alternative_name"):
        names = list(found.get("x509_common_name", ()))
    return [name.decode(errors="replace") for name in names]
