"""Builds the compiled kernel in `kernel/` and installs it into the virtual environment, where cargo is there.

Optional to have: where it can't be built, a sentence says so, and everything works without it. A build takes a minute
or two, so the wheel is kept in the cache of the home directory, for the next clone of the same sources.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path


def bring_up_to_date(root: Path, python: Path, say: Callable[[str], None]) -> None:
    """Install the kernel of these sources, unless that was done already; without cargo leave things as they are."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return
    digest = _digest(root / "kernel", cargo)
    stamp = root / ".venv" / "kernel-made-from"
    if stamp.exists() and stamp.read_text() == digest:
        return
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamer" / "kernel" / digest
    kept.mkdir(parents=True, exist_ok=True)
    # Clones that start at once build it once.
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(kept.glob("*.whl")) and not _build(root, python, kept, say):
            stamp.write_text(digest)
            return
    (wheel,) = kept.glob("*.whl")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index")
    if not _run((*pip, "--force-reinstall", wheel), say):
        return
    stamp.write_text(digest)


def _build(root: Path, python: Path, kept: Path, say: Callable[[str], None]) -> bool:
    say("building the compiled kernel (once, a minute or two)")
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        # No build isolation: maturin is pinned, and installed already; pip looks for it in PATH.
        pip = (python, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps")
        built = _run((*pip, "--no-build-isolation", "--wheel-dir", folder, root / "kernel"), say)
        if not built:
            say("the kernel could not be built (see above); all works without it, for more CPU time")
            return False
        for wheel in Path(folder).glob("*.whl"):
            wheel.rename(kept / wheel.name)
    return True


def _run(command: tuple[str | Path, ...], say: Callable[[str], None]) -> bool:
    root = Path(command[0]).parent.parent.parent
    environment = {
        **os.environ,
        "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "CARGO_TARGET_DIR": str(root / "build" / "kernel"),
    }
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True, env=environment
    )
    if finished.returncode:
        say(f"failed: {' '.join(str(part) for part in command)}\n{finished.stdout}")
    return not finished.returncode


def _digest(folder: Path, cargo: str) -> str:
    """What a build depends on."""
    version = subprocess.run((cargo, "--version"), capture_output=True, check=False, text=True).stdout
    digest = hashlib.sha256(version.encode())
    for path in sorted([*folder.glob("*.toml"), *folder.glob("*.pyi"), *folder.glob("src/*.rs")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]
