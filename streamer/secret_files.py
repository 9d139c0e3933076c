"""Secrets that are kept in files, and read again when those change: tokens and passwords are rotated while we run."""

from __future__ import annotations

from pathlib import Path

from streamer.model import Secret


class SecretFile(Secret):
    """A secret with the file that it comes from. ``reveal`` is to be called at each use: the value may change."""

    __slots__ = ("name", "path")
    # Equal by its value, as all secrets are, and that may change.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: Path, *, name: str = "") -> None:
        """``name`` is what people call it. Raises ``ValueError``, which says what is wrong and nothing of the text."""
        self.path = path
        self.name = name or str(path)
        super().__init__(self._read())

    def read_again(self) -> Secret | None:
        """Take over what the file holds by now; the secret that was replaced, None where it is still the same.

        Raises ``ValueError`` as the constructor does; the value is then kept.
        """
        value = self._read()
        if value == self._value:
            return None
        replaced, self._value = Secret(self._value), value
        return replaced

    def has_changed(self) -> bool:
        """Whether the file holds another value by now; the one it had is kept. Raises ``ValueError`` as above."""
        return self._read() != self._value

    def _read(self) -> str:
        try:
            text = self.path.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"the file {self.name} can't be read: {error.strerror}") from None
        except ValueError:
            raise ValueError(f"the file {self.name} is no UTF-8 text") from None
        # Files and command substitutions end with a newline that is no part of the secret.
        text = text.strip()
        if not text:
            raise ValueError(f"the file {self.name} is empty")
        return text
