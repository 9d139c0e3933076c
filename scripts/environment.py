"""Makes the project's virtual environment, or brings it up to date; run by `scripts/environment`.

Everything comes from `constraints.txt`, checked against its hashes; from where, is the business of pip's own
configuration. Does nothing when the environment was made from the very files that are there now.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import compiled_kernel

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "made-from"
CONSTRAINTS = ROOT / "constraints.txt"


def say(words: str) -> None:
    print(f"environment: {words}", file=sys.stderr, flush=True)


def interpreter() -> str:
    # A virtual environment can't be moved, and breaks when its interpreter is replaced.
    return f"{ROOT} {sys.base_prefix} {sys.version}"


def made_from() -> str:
    """What the environment depends on; another one is needed when this changes."""
    digest = hashlib.sha256(interpreter().encode())
    for path in (CONSTRAINTS, ROOT / "pyproject.toml", Path(__file__)):
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()} {interpreter()}"


def run(*command: str | Path) -> None:
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
    if finished.returncode:
        print(finished.stdout, file=sys.stderr)
        say(f"failed, see above: {' '.join(str(part) for part in command)}")
        sys.exit(1)


def make(stamp: str) -> None:
    started = time.monotonic()
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        say("this Python can't make virtual environments: install its venv package (Debian: python3-venv)")
        sys.exit(1)
    same_interpreter = STAMP.exists() and STAMP.read_text().endswith(interpreter())
    if not same_interpreter or not PYTHON.exists():
        say(f"making .venv with Python {sys.version.split()[0]}")
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        run(sys.executable, "-m", "venv", ENVIRONMENT)
    # Until the end it is unfinished, whatever stops it; but the interpreter may be kept.
    STAMP.write_text(f"unfinished {interpreter()}")
    packages = sum("==" in line for line in CONSTRAINTS.read_text().splitlines())
    say(f"installing {packages} pinned packages (the first time, this takes a minute or two)")
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--require-hashes", "--requirement", CONSTRAINTS)
    say("installing streamer itself")
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    STAMP.write_text(stamp)
    say(f"ready after {time.monotonic() - started:.0f} s")


def main() -> None:
    stamp = made_from()
    # Two scripts started at once: the second waits, and finds the work done.
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp):
            make(stamp)
        compiled_kernel.bring_up_to_date(ROOT, PYTHON, say)


if __name__ == "__main__":
    main()
