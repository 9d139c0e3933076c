"""One test over a table of cases: what ``parametrize`` does, without the price of a test for each case."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Test = Callable[..., Any]


def cases(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Test], Test]:
    """In the place of ``pytest.mark.parametrize``, and stacked like it: the test runs its body for each of the values.

    The first case that fails ends the test and is named in its failure. All cases share the test's fixtures and its
    event loop, so those that need fixtures of their own are for ``parametrize``.
    """
    table = [dict(zip(names, value, strict=True)) if isinstance(names, tuple) else {names: value} for value in values]
    assert table

    def over_all(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def run_async(*args: Any, **kwargs: Any) -> None:
                __tracebackhide__ = True
                for number, case in enumerate(table, 1):
                    with named(number, len(table), case):
                        await test(*args, **kwargs, **case)

            run: Test = run_async
        else:

            @functools.wraps(test)
            def run_sync(*args: Any, **kwargs: Any) -> None:
                __tracebackhide__ = True
                for number, case in enumerate(table, 1):
                    with named(number, len(table), case):
                        test(*args, **kwargs, **case)

            run = run_sync
        signature = inspect.signature(test)
        given = [parameter for name, parameter in signature.parameters.items() if name not in table[0]]
        assert len(given) == len(signature.parameters) - len(table[0]), "every name is an argument of the test"
        # What pytest looks at to find the fixtures.
        run.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
        return run

    return over_all


@contextmanager
def named(number: int, count: int, case: dict[str, Any]) -> Iterator[None]:
    __tracebackhide__ = True
    try:
        yield
    except BaseException as error:
        told = ", ".join(f"{name}={value!r:.200}" for name, value in case.items())
        error.add_note(f"case {number} of {count}: {told}")
        raise
