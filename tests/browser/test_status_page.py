"""The status page in a real browser, over two daemons, a real Kafka and the simulator."""

from __future__ import annotations

import itertools
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from streamer.sandbox.faults import FaultRule, Hold, Status
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.brokers import Kafka
from tests.browser.rows import COLOURS, CUT_OFF, ROWS, contrast, shown
from tests.integration.test_first_errors import write_config
from tests.processes import Process, started

PATIENCE_MS = 60_000
CANARIES = {"MEWS_CLIENT_TOKEN": "client-token-canary", "MEWS_ACCESS_TOKEN": "access-token-canary"}
SIMULATOR = SimulatorSettings(
    pending_seconds=0,
    processing_seconds=0,
    client_token=CANARIES["MEWS_CLIENT_TOKEN"],
    access_tokens=(CANARIES["MEWS_ACCESS_TOKEN"],),
)
LINES = b"".join(b'{"Id":"%06d","Text":"%s"}\n' % (n, b"x" * 400) for n in range(4_000))


async def origin(daemon: Process) -> str:
    return f"http://127.0.0.1:{(await daemon.until_logged('listening'))['port']}"


async def looking_at(browser: Browser, address: str, *, width: int = 1600, scheme: str = "light") -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    await page.goto(address)
    return page


async def test_a_running_export_moves_an_error_appears_and_both_replicas_are_seen(
    kafka: Kafka, prefix: str, tmp_path: Path, chromium: Browser
) -> None:
    async with Simulator(SIMULATOR) as mews:
        mews.set_data("Reservation", [LINES, LINES])
        mews.set_data("Customer", [b'{"Id":"c1"}\nno json\n'])
        # For ever: whichever replica takes a stream over meets them too.
        refused = FaultRule(
            on="add", entity_type="Customer", action=Status(code=401, message="No longer allowed."), times=None
        )
        halfway = Hold(at_byte=len(LINES) // 2)
        mews.add_fault(FaultRule(on="file", entity_type="Reservation", file_index=1, action=halfway, times=None))
        mews.add_fault(FaultRule(on="add", entity_type="Customer", action=Hold(before=True), times=None))
        mews.add_fault(refused)
        more = "[exports]\ntransaction_bytes = 400_000\n"
        write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
        config = tmp_path / "config.toml"
        config.write_text(config.read_text().replace("[exports]\n", more))
        async with (
            started("run", cwd=tmp_path, environment=CANARIES) as one,
            started("run", cwd=tmp_path, environment=CANARIES) as two,
        ):
            address = await origin(one)
            page = await looking_at(chromium, address)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            await page.reload()

            reservations = page.locator('article[data-stream="alpine/Reservation"]')
            customers = page.locator('article[data-stream="alpine/Customer"]')
            await expect(page.locator("#connection")).to_have_text("live")
            await expect(page.locator("#alarm")).to_be_hidden()
            await expect(reservations.locator(".pill")).to_have_text("publishing")
            await expect(reservations.locator(".done")).to_have_text("75% of 3.4\u00a0MB")
            await expect(reservations.locator(".left")).to_contain_text("file 2 of 2")
            await expect(customers.locator(".error")).to_be_hidden()

            mews.clear_faults()
            mews.add_fault(refused)
            mews.release()
            await expect(reservations.locator(".pill")).to_have_text("idle")
            await expect(reservations.locator(".counts")).to_have_text("8,000 records")
            await expect(customers.locator(".pill")).to_have_text("stopped")
            await expect(customers.locator(".error")).to_contain_text("No longer allowed.")
            await expect(page.locator("#tile-attention")).to_have_text("1")
            await expect(page).to_have_title("(1) streamer")

            # Whoever of the two does not hold a stream is seen on the other's page as soon as it has worked on one.
            pages = [page, await looking_at(chromium, await origin(two))]
            for looked_at in pages:
                await expect(looked_at.locator("article.stream")).to_have_count(2)
            replicas = [await looked_at.locator("#replicas .this").text_content() for looked_at in pages]
            assert len(set(replicas)) == 2, replicas

            told = [await looked_at.content() for looked_at in pages]
            told += [(await daemon.page("/api/streams"))[1].decode() for daemon in (one, two)]
            assert not [text for text in told if "canary" in text]
            assert asked
            assert all(url.startswith(f"{address}/") for url in asked), asked
            assert problems == []
            assert await one.terminate() == 0
            await expect(page.locator("#connection")).to_contain_text("no connection since")


async def test_it_is_readable_on_a_phone_and_on_a_wall_by_day_and_by_night(chromium: Browser) -> None:
    async with shown(ROWS) as address:
        for width, scheme in itertools.product((400, 900, 1600), ("light", "dark")):
            page = await looking_at(chromium, address, width=width, scheme=scheme)
            await expect(page.locator("article.stream")).to_have_count(len(ROWS))
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            # Nothing is cut off, and nothing is smaller than what people read.
            assert await page.evaluate(CUT_OFF) == []
            ground, ink = await page.evaluate(COLOURS)
            assert contrast(ground, ink) > 7


async def test_filter_and_order_are_at_hand_and_markup_in_an_error_is_text(chromium: Browser) -> None:
    async with shown(ROWS) as address:
        page = await looking_at(chromium, address)
        names = page.locator("article.stream h2")
        await expect(names).to_have_text([f"alpine\u2009/\u2009{kind}" for kind in ("Bill", "Customer", "Payment")])
        await page.locator("#sort").select_option("attention")
        await expect(names.first).to_contain_text("Customer")
        await page.locator("#sort").select_option("lag")
        await expect(names.first).to_contain_text("Payment")
        await page.get_by_role("button", name="Attention").click()
        await expect(names).to_have_count(1)
        await expect(page.locator("article .error")).to_contain_text("<img src=x onerror=alert(1)>")
        await page.get_by_role("button", name="All").click()
        await page.locator("#filter").fill("host-2 publ")
        await expect(names).to_have_text(["alpine\u2009/\u2009Bill"])
        await page.locator("#filter").fill("nothing like it")
        await expect(page.locator("#nothing")).to_be_visible()


async def test_a_replica_that_hears_nothing_from_kafka_says_so_above_all(chromium: Browser) -> None:
    async with shown(ROWS, ready=False) as address:
        page = await looking_at(chromium, address)
        await expect(page.locator("#alarm")).to_contain_text("hears nothing from Kafka")


async def test_the_theme_is_kept_and_the_page_reaches_nobody_else(chromium: Browser) -> None:
    async with shown(ROWS) as address:
        page = await looking_at(chromium, address)
        await page.locator("#theme").click()
        await page.locator("#theme").click()
        await page.reload()
        await expect(page.locator("#theme")).to_have_text("Theme: dark")
        refused = await page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => error.name)")
        assert refused == "TypeError"
        assert "connect-src 'self'" in (await page.request.get(address)).headers["content-security-policy"]
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answers = [
                await page.request.fetch(address + path, method=method) for path in ("/", "/api/streams", "/api/events")
            ]
            assert [answer.status for answer in answers] == [405] * 3
