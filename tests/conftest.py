import asyncio
import gc
import logging
import os
import re
import uuid
from collections.abc import Generator, Iterator, Mapping

import pytest
import structlog
from hypothesis import settings

from streamer.sandbox.local_kafka import LocalKafka
from tests.brokers import Kafka, broker_for_tests
from tests.secured import broker_security, grant_rights
from tests.secured import environment as security_environment

# Few examples keep the unit tests quick; `--hypothesis-profile=thorough` looks further. A busy machine is no
# counterexample, so there are no deadlines.
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("quick")


PLAIN = [structlog.processors.KeyValueRenderer(key_order=["event"])]


def pytest_configure() -> None:
    plain_logs()
    # Before Python 3.12 pytest-asyncio otherwise makes a loop, to have one to put back after an async test, and leaves
    # it open: a ResourceWarning in some later test, and so an error there.
    asyncio.set_event_loop(None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # Collecting makes next to no garbage, but many objects that every full pass would look at, then and in each test:
    # a good part of the time that the unit tests take.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def machine() -> Iterator[Mapping[str, str]]:
    """The environment as it was found. No setting of the machine reaches a test, or a process that it starts."""
    found = dict(os.environ)
    secured = security_environment()
    with pytest.MonkeyPatch.context() as environment:
        for name in found:
            if name.startswith("STREAMER_"):
                environment.delenv(name)
        for name, value in secured.items():
            environment.setenv(name, value)
        yield found


def plain_logs() -> None:
    """What is logged goes to the captured output in one word for each value: no colours and no tables, which cost most
    of a test's time.
    """
    structlog.reset_defaults()
    structlog.configure(processors=PLAIN)


@pytest.fixture(autouse=True)
def logs_of_the_next_test() -> Iterator[None]:
    """A test that configures the logs of the process leaves none of that to those after it."""
    yield
    if structlog.get_config()["processors"] is PLAIN:
        return
    plain_logs()
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler).__module__.startswith("streamer."):
            root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    for library in ("aiohttp", "aiokafka", "asyncio"):
        logging.getLogger(library).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def kafka(machine: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Apache Kafka for the whole run. It belongs to no event loop, so every test may use it."""
    with broker_for_tests(tmp_path_factory.mktemp("kafka"), machine) as broker:
        yield broker


@pytest.fixture(scope="session")
def local_kafka(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker with a listener behind a proxy, whichever broker the other tests run against.

    Most often it is the others' broker too, so leave it running: a test that kills or
    pauses a broker starts one of its own.
    """
    if kafka.local is not None:
        yield kafka.local
        return
    with LocalKafka(tmp_path_factory.mktemp("local-kafka"), proxied_port=0, security=broker_security()) as local:
        grant_rights(local.bootstrap_servers)
        yield local


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A name that only this test has in this run and any other, for topics, groups and transactional ids."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return f"{words[:40].strip('-')}-{uuid.uuid4().hex[:8]}"
