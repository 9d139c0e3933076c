"""From what TOML and the environment say to typed values, with an error that names the place.

msgspec alone would do most of this, but it names neither the index of a list item nor the key that was meant,
and the values of people (``"5m"``, ``{ env = "NAME" }``) are no types of TOML. Knows nothing of particular
settings.
"""

from __future__ import annotations

import difflib
import enum
import re
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from streamer.errors import ConfigError
from streamer.model import Secret
from streamer.secret_files import SecretFile

S = TypeVar("S", bound=msgspec.Struct)

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)
_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
# A service called `streamer-http` makes Kubernetes set STREAMER_HTTP_PORT=tcp://… in all pods around it.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_.+)?)$")
_SERVICE_LINK_HINT = "; Kubernetes sets such variables for a service: switch enableServiceLinks off in the pod"


def parse_duration(text: str) -> timedelta:
    """The time that ``500ms``, ``30s``, ``5m``, ``2h`` or ``7d`` says; ``ValueError`` for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 2h or 7d")
    try:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        duration = timedelta.max
    if not timedelta(0) < duration <= _LONGEST:
        raise ValueError("expected a duration of more than nothing and at most 3650d")
    return duration


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` where one of the known words is close, else nothing."""
    by_case = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), by_case, n=1, cutoff=0.6)
    return f'; did you mean "{by_case[close[0]]}"?' if close else ""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; ``ConfigError`` where there is no such file or it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "",
            f"there is no file {path}: say `streamer --config FILE` or set STREAMER_CONFIG, "
            "and take config.example.toml as a start",
        ) from None
    except OSError as error:
        raise ConfigError("", f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError("", f"{path} is no UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"{path} is no valid TOML: {error}") from None


class Decoder:
    """Makes structs of tables. Relative paths start at ``directory``, secrets come from ``environ``."""

    def __init__(self, *, environ: Mapping[str, str], directory: Path, with_secrets: bool = True) -> None:
        self._environ = environ
        self._with_secrets = with_secrets
        self._directory = directory
        self._by_type: dict[object, Callable[[Any, str], Any]] = {
            timedelta: _duration,
            Secret: self._secret,
            Path: self._path,
        }

    def struct(self, kind: type[S], value: Any, path: str = "") -> S:
        """A ``kind`` of the table ``value``; errors name the key below ``path``."""
        if not isinstance(value, dict):
            raise ConfigError(path, f"expected a table, not {_name(value)}")
        fields = {f.name: f for f in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                raise ConfigError(_join(path, key), f"unknown key{suggestion(key, fields)}")
        for name, field in fields.items():
            if field.required and name not in value:
                raise ConfigError(_join(path, name), "is missing")
        values = {key: self._value(fields[key].type, item, _join(path, key)) for key, item in value.items()}
        try:
            return kind(**values)
        except ConfigError as error:
            # The struct's own rules know the names of its fields, not where it stands in the file.
            raise ConfigError(_join(path, error.path), error.problem) from None

    def _value(self, kind: Any, value: Any, path: str) -> Any:
        origin, args = get_origin(kind), get_args(kind)
        if kind in self._by_type:
            return self._by_type[kind](value, path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(kind, value, path)
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
            return kind(_one_of([member.value for member in kind], value, path))
        if origin is Literal:
            return _one_of(list(args), value, path)
        if origin in (tuple, dict):
            return self._items(origin, args, value, path)
        if origin in (Union, types.UnionType):
            # TOML has no null: the only way to say "none" is the word `off`, and only durations have it.
            inner = _without_none(kind)
            return None if inner is timedelta and value == "off" else self._value(inner, value, path)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise ConfigError(path, _in_words(str(error))) from None

    def _items(self, origin: object, args: tuple[Any, ...], value: Any, path: str) -> object:
        if origin is tuple:
            if not isinstance(value, list):
                raise ConfigError(path, f"expected a list, not {_name(value)}")
            return tuple(self._value(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        if not isinstance(value, dict):
            raise ConfigError(path, f"expected a table, not {_name(value)}; names with dots go in quotes")
        if args[1] is str:
            return {key: _text(item, _join(path, key)) for key, item in value.items()}
        return {
            self._value(args[0], key, _join(path, key)): self._value(args[1], item, _join(path, key))
            for key, item in value.items()
        }

    def _secret(self, value: Any, path: str) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"env", "file"}:
            raise ConfigError(
                path,
                'a secret is not written here but where it is kept: { env = "NAME" } or { file = "path" }',
            )
        if not self._with_secrets:
            return Secret(path)
        ((where, name),) = value.items()
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{path}.{where}", "expected text in quotes")
        try:
            if where == "file":
                return SecretFile(self._directory / name, name=name)
            return Secret(self._from_environment(name))
        except ValueError as error:
            raise ConfigError(path, str(error)) from None

    def _from_environment(self, name: str) -> str:
        text = self._environ.get(name)
        if text is None:
            raise ValueError(f"the environment variable {name} is not set")
        if not text.strip():
            raise ValueError(f"the environment variable {name} is empty")
        return text.strip()

    def _path(self, value: Any, path: str) -> Path:
        if not isinstance(value, str) or not value:
            raise ConfigError(path, "expected the path of a file, in quotes")
        found = self._directory / value
        if not found.is_file():
            raise ConfigError(path, f"there is no file {value}")
        return found


def with_overrides(
    data: dict[str, Any], sections: Mapping[str, type[msgspec.Struct]], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """``data`` with what ``STREAMER_<SECTION>_<KEY>`` say instead, and which path came from which."""
    merged = dict(data)
    origins: dict[str, str] = {}
    fields = {
        f"STREAMER_{section}_{field.name}".upper(): (section, field)
        for section, kind in sections.items()
        for field in msgspec.structs.fields(kind)
    }
    for variable, text in sorted(environ.items()):
        if not variable.startswith("STREAMER_") or variable.startswith(("STREAMER_CONFIG", "STREAMER_TEST_")):
            continue
        if variable not in fields:
            _refuse_unknown(variable, sections, fields)
            continue
        section, field = fields[variable]
        path = f"{section}.{field.name}"
        table = merged.get(section, {})
        if isinstance(table, dict):
            merged[section] = {**table, field.name: _from_text(field.type, text, path, variable)}
            origins[path] = variable
    return merged, origins


def from_variable(error: ConfigError, origins: Mapping[str, str], environ: Mapping[str, str]) -> ConfigError:
    """The error with the name of the variable, where its value came from the environment."""
    for path, variable in origins.items():
        if error.path == path or error.path.startswith((f"{path}[", f"{path}.")):
            hint = _SERVICE_LINK_HINT if environ[variable].startswith("tcp://") else ""
            return ConfigError(error.path, f"{error.problem} (set by {variable}){hint}")
    return error


def _refuse_unknown(variable: str, sections: Iterable[str], known: Iterable[str]) -> None:
    """Ignores what isn't meant for streamer; a variable that nearly is one of its own is a mistake."""
    ours = variable.startswith(tuple(f"STREAMER_{section.upper()}_" for section in sections))
    # All begin alike, so only much likeness says anything.
    meant = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
    if ours or meant:
        hint = f"; did you mean {meant[0]}?" if meant else ""
        if _SERVICE_LINK.search(variable):
            hint = _SERVICE_LINK_HINT
        raise ConfigError(variable, f"this environment variable sets no key that there is{hint}")


def _from_text(kind: Any, text: str, path: str, variable: str) -> Any:
    """What the text of a variable would have been in the file; left as it is where it makes no sense."""
    kind = _without_none(kind)
    if kind is Secret:
        if not text.strip():
            raise ConfigError(path, f"the environment variable {variable} is empty")
        return Secret(text.strip())
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if get_origin(kind) is dict:
        raise ConfigError(variable, f"{path} can be set in the file only")
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind in (bool, int, float):
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            return text
    return text


def _without_none(kind: Any) -> Any:
    """``X`` of ``X | None``: the settings know no other unions."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(arg for arg in get_args(kind) if arg is not type(None))
    return kind


def _duration(value: Any, path: str) -> timedelta:
    if not isinstance(value, str):
        raise ConfigError(path, 'expected a duration in quotes, such as "30s" or "5m"')
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ConfigError(path, str(error)) from None


def _text(value: Any, path: str) -> str:
    """Text of anything that stands for one value: ``604800000`` and ``true`` as well as ``"604800000"``."""
    if isinstance(value, dict):
        raise ConfigError(path, "expected one value, not a table; names with dots go in quotes")
    if not isinstance(value, str | int | float):
        raise ConfigError(path, f"expected one value, not {_name(value)}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_of(known: list[str], value: Any, path: str) -> str:
    if isinstance(value, str) and value in known:
        return value
    said = f'"{value}"{suggestion(value, known)}' if isinstance(value, str) else _name(value)
    raise ConfigError(path, f"expected one of {', '.join(known)}, not {said}")


def _name(value: Any) -> str:
    """What kind of thing a value is; never the value, which may be a secret in the wrong place."""
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object"}
    return _WORDS.get(names.get(type(value), ""), type(value).__name__)


def _in_words(problem: str) -> str:
    """msgspec's sentence in the words of somebody who writes TOML."""
    said = re.sub(r"`(\w+)`", lambda m: _WORDS.get(m[1], m[1]), problem)
    said = re.sub(r"`(\w+) ([<>=]+ [^`]+)`", lambda m: f"{_WORDS.get(m[1], m[1])} {m[2]}", said)
    return said[:1].lower() + said[1:].replace(", got ", ", not ")


def _join(path: str, key: str) -> str:
    key = key if re.fullmatch(r"[\w-]+(\[.*|\..*)?", key) else f'"{key}"' if key else ""
    return f"{path}.{key}" if path and key else path or key
