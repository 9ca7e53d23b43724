"""Workers in several languages on one sale, and on one order whose id no double can hold."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flash_sale import languages, processes
from lockservice_client import Client, Held, shopify_delivery

VECTOR = json.loads(Path(__file__).parents[2].joinpath("deliveries.json").read_text(encoding="utf-8"))["deliveries"][
    0
]
HOLDER = """
import { Client, shopifyDelivery } from "lockservice-client";
const [address, headers, body] = process.argv.slice(1);
const client = new Client({ address, owner: "node" });
const { resource } = shopifyDelivery(JSON.parse(headers), body);
try {
  const lease = await client.lock(resource, { ttl: 30_000 });
  console.log("holds", resource);
  for await (const _ of process.stdin);
  await lease.done();
} catch (error) {
  console.log(error.name, error.message);
}
await client.close();
"""


def _language(name: str) -> languages.Language:
    program = languages.missing(name)
    if program and os.environ.get("CI") != "true":
        pytest.skip(f"{program} is not installed")
    return languages.build(name)


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """A lockservice."""
    process, server, _ = await processes.start_lockservice(tmp_path)
    yield server
    await processes.stop(process)


def _node(directory: Path, address: str) -> "subprocess.Popen[str]":
    words = ["node", "--input-type=module", "-e", HOLDER, address, json.dumps(VECTOR["headers"]), VECTOR["body"]]
    return subprocess.Popen(words, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.timeout(300)
async def test_order_820982911946154508_is_one_in_node_and_in_python(address: str) -> None:
    """Each language excludes the other, with the resource that it has read out of the same webhook."""
    node = await asyncio.to_thread(_language, "node")
    resource = shopify_delivery(VECTOR["headers"], VECTOR["body"]).resource
    assert resource.endswith("/820982911946154508")
    async with Client(address, owner="python") as client:
        with _node(node.directory, address) as holding:
            assert holding.stdout is not None
            assert await asyncio.to_thread(holding.stdout.readline) == f"holds {resource}\n"
            with pytest.raises(Held, match="by node"):
                await client.lock(resource).__aenter__()
        async with client.lock(resource):
            with _node(node.directory, address) as refused:
                said, _ = await asyncio.to_thread(refused.communicate)
    assert said == f"Held {resource} is held by python\n"


@pytest.mark.timeout(300)
def test_workers_in_every_language_play_one_sale() -> None:
    """One of each is killed; others finish its events; nothing is lost, and nothing done twice."""
    spoken = [_language(name).name for name in languages.known()]
    words = [sys.executable, "-m", "flash_sale", "--act", "two", "--orders", "400", "--kills", str(len(spoken))]
    played = subprocess.run(
        [*words, "--languages", ",".join(spoken)], capture_output=True, text=True, check=False, timeout=250
    )
    assert played.returncode == 0, played.stdout + played.stderr
    rows = {
        cells[1].strip(): cells[2].strip() for line in played.stdout.splitlines() if len(cells := line.split("│")) > 2
    }
    for name in spoken:
        assert int(rows[f"settled by {name}"].replace(",", "")) > 0
    assert int(rows["their events, taken over"].replace(",", "")) > 0
