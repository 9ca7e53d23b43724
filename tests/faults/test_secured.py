"""Sentinel groups and Clusters with TLS on every link and only the users that the project ships."""

from collections.abc import Iterator

import pytest

from harness.groups import Cluster, SentinelGroup
from harness.minting import Minting
from harness.service import Service, reason_of, refused, until
from lockservice.shards.keys import place


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    """A Sentinel group."""
    with SentinelGroup(secure=True) as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Cluster."""
    with Cluster(secure=True) as made:
        yield made


async def test_a_sentinel_group_with_tls_and_users(group: SentinelGroup) -> None:
    """The service finds the primary and follows it with the rights that acl.conf and sentinel.conf give it."""
    async with Service([group.url]) as service, Minting(service) as minting:
        old = group.current()
        old.stop()
        await until(lambda: group.current() is not old, "there is another", within=15)
        await minting.more(50)

    assert minting.repeated() == 0


async def test_a_cluster_with_tls_and_users(cluster: Cluster) -> None:
    """The service finds the nodes and follows a failover with the rights that acl.conf gives it."""
    resources = [f"order:{n}" for n in range(20)]
    async with Service([cluster.url]) as service, Minting(service, *resources) as minting:
        cluster.serving(place("", "order:1").bucket).stop()
        await minting.more(200)

    assert minting.repeated() == 0


@pytest.mark.parametrize("wrong", ["ssl_ca_certs", "sentinel_password", "password"])
async def test_wrong_secrets_are_told(group: SentinelGroup, wrong: str) -> None:
    """Another authority, or a wrong password at either, is no connection, and no secret is told."""
    others = {"ssl_ca_certs": str(group.directory / "other-ca.pem"), "sentinel_password": "s3cr3t"}
    if wrong == "password":
        url = group.url.replace("lockservice:CHANGE-THIS-PASSWORD@", "lockservice:s3cr3t@")
    else:
        before, _, after = group.url.partition(f"{wrong}=")
        rest = after.partition("&")
        url = f"{before}{wrong}={others[wrong]}{rest[1]}{rest[2]}"
    async with Service([url]) as service:
        error = await refused(service.acquire())

    assert reason_of(error) == "SHARD_UNAVAILABLE"
    assert "s3cr3t" not in (error.details() or "")
    assert "CHANGE-THIS" not in (error.details() or "")
