"""The simulator as a process."""

import asyncio
import json
import sys

import aiohttp


async def test_the_process_says_where_it_listens_and_ends_at_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from streamer.sandbox.simulator_command import simulator; simulator()"),
        *("--entities", "LedgerEntry=5", "--entities", "7", "--pending-seconds", "0", "--processing-seconds", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with aiohttp.ClientSession() as session:
        body = {"ClientToken": "demo-client-token", "AccessToken": "demo-access-token", "Client": "tests 1.0"}
        async with session.post(f"{url}/api/connector/v1/exports/add", json=body | {"EntityType": "Bill"}) as response:
            assert (await response.json())["Export"]["Status"] == "Success"
        async with session.get(f"{url}/_control/state") as response:
            assert (await response.json())["exports"][0]["lines"] == 7
    process.terminate()
    rest, log = await process.communicate()
    assert (process.returncode, rest) == (0, b"")
    assert b"export_added" in log
    assert b"demo-access-token" not in log
    assert b"sig=" not in log
