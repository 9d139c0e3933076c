"""Where the demo's picture goes: a terminal that is drawn over and over, or plain lines for a pipe or a log."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from streamer.sandbox.demo_progress import StreamProgress
from streamer.sandbox.demo_view import Picture, State, changes, draw, one_line

_PLAIN_SECONDS = 3.0
"""Between lines of numbers."""


class Screen(Protocol):
    """Shows the picture, and what is said besides."""

    picture: Picture

    def part(self, name: str, state: State, words: str) -> None:
        """What one of the parts is doing; told often."""

    def news(self, words: str) -> None:
        """Something has happened that a person should see."""

    def update(self, streams: tuple[StreamProgress, ...]) -> None:
        """The picture has changed."""

    def end(self) -> None:
        """No more of the above: from here on, ``say``."""

    def close(self) -> None:
        """Give the terminal back, whatever state it is in."""

    def say(self, words: RenderableType = "") -> None:
        """A line that stays."""


def screen_for(console: Console) -> Screen:
    """The one that fits: drawing needs a terminal that can move its cursor."""
    return TerminalScreen(console) if console.is_terminal and not console.is_dumb_terminal else PlainScreen(console)


class TerminalScreen:
    """Draws the whole picture anew, in place."""

    def __init__(self, console: Console) -> None:
        self.picture = Picture()
        self._console = console
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def part(self, name: str, state: State, words: str) -> None:
        self.picture.parts[name] = (state, words)
        self._draw()

    def news(self, words: str) -> None:
        self.picture.news.append(f"{time.strftime('%H:%M:%S')}  {words}")
        self._draw()

    def update(self, streams: tuple[StreamProgress, ...]) -> None:
        self.picture.streams = streams
        self._draw()

    def end(self) -> None:
        self._draw()
        self.close()

    def close(self) -> None:
        self._live.stop()

    def say(self, words: RenderableType = "") -> None:
        self._console.print(words, markup=False)

    def _draw(self) -> None:
        if not self.picture.finished:
            self.picture.seconds = time.monotonic() - self._started
        self._live.update(draw(self.picture, self._console.width), refresh=True)


class PlainScreen:
    """Prints a line for each change, and the numbers every few seconds."""

    def __init__(self, console: Console) -> None:
        self.picture = Picture()
        self._console = console
        self._started = time.monotonic()
        self._said_numbers = self._started

    def part(self, name: str, state: State, words: str) -> None:
        before = self.picture.parts.get(name)
        self.picture.parts[name] = (state, words)
        # Numbers that count up are for a terminal; what went down is news, and told as such.
        if state != "down" and (before is None or (before[0], _verb(before[1])) != (state, _verb(words))):
            self._line(f"{name}: {words}")

    def news(self, words: str) -> None:
        self._line(words)

    def update(self, streams: tuple[StreamProgress, ...]) -> None:
        for change in changes(self.picture.streams, streams):
            self._line(change)
        self.picture.streams = streams
        now = time.monotonic()
        if self.picture.rate[0] and now - self._said_numbers >= _PLAIN_SECONDS:
            self._said_numbers = now
            self._line(one_line(self.picture))

    def end(self) -> None:
        self._line(one_line(self.picture))

    def close(self) -> None:
        pass

    def say(self, words: RenderableType = "") -> None:
        if isinstance(words, Text):
            words.no_wrap, words.overflow = True, "ignore"
        self._console.print(words, soft_wrap=True, markup=False)

    def _line(self, words: str) -> None:
        stamp = f"[{time.monotonic() - self._started:5.1f} s]"
        self._console.print(f"{stamp} {words}", markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()


def _verb(words: str) -> str:
    """What is being done, without how far it is."""
    return words.partition(" ")[0].rstrip(",")
