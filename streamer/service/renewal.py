"""Secrets in files, read again while the daemon runs: Kubernetes, Vault and people replace them at any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from streamer.config import Config
from streamer.kafka.tls import renew_tls
from streamer.logs import hide
from streamer.secret_files import SecretFile

log = structlog.get_logger()

LOOK_SECONDS = 5.0
"""How often the files are read: each a few hundred bytes, on a volume that Kubernetes itself updates once a minute."""


async def follow_secrets(
    config: Config, *, sleep: Callable[[float], Awaitable[None]], renewed: Callable[[], None]
) -> None:
    """Look at the files of all secrets again and again, for ever; ``renewed`` is called after a change.

    What can't be used (a file that is just being replaced, or was emptied by mistake) leaves the old value in place,
    and is told once. So is another key for hashes: they are made with that of the start for as long as the daemon runs.
    """
    told: set[str] = set()
    while True:
        await sleep(LOOK_SECONDS)
        # Not in a thread: secrets are mounted in memory, and reading a few takes less than a millisecond.
        changed, problems = renew_secrets(config)
        for problem in problems - told:
            log.warning("secret_not_renewed", reason=problem)
        told = problems
        for name in changed:
            log.info("secret_renewed", file=name)
        if changed:
            renewed()


def renew_secrets(config: Config) -> tuple[list[str], set[str]]:
    """Take over what the files hold by now: those that have changed, and what is wrong with others."""
    changed: list[str] = []
    problems: set[str] = set()
    lasting = {id(key) for key in config.hash_keys()}
    for secret in config.secrets():
        if not isinstance(secret, SecretFile):
            continue
        try:
            if id(secret) in lasting:
                if secret.has_changed():
                    problems.add(f"the file {secret.name} holds another key, which is taken at a start alone")
                continue
            replaced = secret.read_again()
        except ValueError as error:
            problems.add(str(error))
            continue
        if replaced is not None:
            # Those it had stay hidden too: somebody may still repeat them.
            hide(replaced, secret)
            changed.append(secret.name)
    try:
        if renew_tls(config.kafka):
            changed.append("certificates of kafka.ssl_…")
    except ValueError as error:
        problems.add(str(error))
    return changed, problems
