"""The client with a service that asks for credentials: over TLS, and in the clear on loopback."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from lockservice_client import Client, NotAllowed, ServiceError

TOKENS = {name: secrets.token_urlsafe(32) for name in ("shop", "bank")}


def _auth_file(directory: Path) -> Path:
    path = directory / "auth.toml"
    credentials = [
        f'[[credential]]\nname = "{name}"\nnamespace = "{name}"\n'
        'prefixes = ["order:"]\nroles = ["worker", "operator"]\n'
        f'token-sha256 = ["{hashlib.sha256(token.encode()).hexdigest()}"]\n'
        for name, token in TOKENS.items()
    ]
    path.write_text("\n".join([*credentials, "[namespace.bank]\nleases = 1\n"]), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["clear", "tls"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Any]
) -> Iterator[Callable[..., Client]]:
    """Makes clients of a service with an auth file."""
    directory = tmp_path_factory.mktemp("guarded")
    flags, how = ["--auth-file", str(_auth_file(directory))], {}
    if request.param == "tls":
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        how["ca"] = directory / "ca.pem"
        authority.cert_pem.write_to_path(how["ca"])
        issued.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        flags += ["--tls-cert", str(directory / "server.pem"), "--tls-key", str(directory / "server.pem")]
    process = serve(str(directory), *flags)
    yield partial(Client, process.address, retry_for=2, **how)
    process.end()


@pytest.mark.parametrize("unary", [False, True])
async def test_s39_a_token_decides_who_one_is(client: Callable[..., Client], *, unary: bool) -> None:
    """Two tenants hold the same name at once, in sessions and in calls, and each sees its own."""
    async with client(token=TOKENS["shop"], unary=unary) as shop, client(token=TOKENS["bank"], unary=unary) as bank:
        async with shop.lock("order:1") as mine, bank.lock("order:1"):
            (held,) = [lock async for lock in shop.list_locks("order:")]
            assert held.holder is not None
            assert held.holder.fencing_token == mine.fencing_token
        assert await shop.first(f"order:event:{unary}")
        assert await bank.first(f"order:event:{unary}")


async def test_a_quota_says_when_to_try_again(client: Callable[..., Client]) -> None:
    """RESOURCE_EXHAUSTED goes to the caller, with the reason and the time to wait."""
    async with client(token=TOKENS["bank"]) as bank, bank.lock("order:1"):
        with pytest.raises(ServiceError) as refused:
            await bank.acquire("order:2")
        assert (refused.value.reason, refused.value.retry_after) == ("QUOTA_EXCEEDED", 1.0)


@pytest.mark.parametrize("unary", [False, True])
async def test_s39_who_is_not_let_in_hears_why(client: Callable[..., Client], *, unary: bool) -> None:
    """No token, a wrong one, and a name that is not one's own: NotAllowed with the reason, and no repetition."""
    for token in (None, "x" * 43):
        async with client(token=token, unary=unary) as stranger:
            with pytest.raises(NotAllowed) as refused:
                await stranger.acquire("order:1")
            assert refused.value.reason == "CREDENTIAL_MISSING"
    async with client(token=TOKENS["shop"], unary=unary) as shop:
        with pytest.raises(NotAllowed) as refused:
            await shop.acquire("stock:1")
        assert refused.value.reason == "RESOURCE_FORBIDDEN"
