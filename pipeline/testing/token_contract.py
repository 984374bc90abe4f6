"""The contract suite of token providers: subclass it in a test module, say where a token comes from, run pytest.

::

    class TestMine(TokenProviderContract):
        entry_point = "my_module:my_token"

        def make_config(self, folder: Path) -> str: ...
        def make_broken_config(self, folder: Path) -> str: ...
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Final

from pipeline import plugins

_TEN_YEARS_S: Final = 10 * 365 * 86_400.0


class TokenProviderContract:
    """What every token provider must do. ``entry_point`` is what the package's entry point names."""

    entry_point: ClassVar[str]

    def make_config(self, folder: Path) -> str:
        """Make what a token comes from, in ``folder`` for instance, and return ``sasl.oauthbearer.config`` for it."""
        raise NotImplementedError

    def make_broken_config(self, folder: Path) -> str:
        """Return a ``sasl.oauthbearer.config`` for which no token can be had."""
        raise NotImplementedError

    def test_a_token_and_when_it_expires_are_returned(self, tmp_path: Path) -> None:
        """As text, and in seconds since the epoch; it has not expired."""
        self._check(self._provider()(self.make_config(tmp_path)))

    def test_any_thread_may_ask(self, tmp_path: Path) -> None:
        """Each client asks on a thread of its own: eight at once have a token each."""
        provider, config = self._provider(), self.make_config(tmp_path)
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(provider, [config] * 32):
                self._check(answer)

    def test_where_no_token_can_be_had_it_raises(self, tmp_path: Path) -> None:
        """Any error, with a text: it is logged, and after ten seconds the provider is asked again."""
        config = self.make_broken_config(tmp_path)
        try:
            answer = self._provider()(config)
        except Exception as error:  # noqa: BLE001  # any will do
            assert str(error), "the error says nothing"  # noqa: PT017  # that one is raised is what this is about
            return
        raise AssertionError(f"no token can be had, and {type(answer).__name__} was returned")

    def _provider(self) -> Callable[[str], Any]:
        provider: Callable[[str], Any] = EntryPoint("under-test", self.entry_point, plugins.TOKENS).load()
        return provider

    def _check(self, answer: Any) -> None:
        assert isinstance(answer, tuple), f"a token and its end were expected, got {type(answer).__name__}"
        assert len(answer) == 2, f"a token and its end were expected, got {len(answer)} values"
        token, expires_s = answer
        assert isinstance(token, str), f"the token is {type(token).__name__}, text was expected"
        assert token == "".join(token.split()), "the token has white space in it, or around it"
        assert token, "the token is empty"
        assert isinstance(expires_s, int | float), f"its end is {type(expires_s).__name__}, seconds were expected"
        left_s = expires_s - time.time()
        assert left_s > 0, f"the token has expired {-left_s:.0f} s ago"
        assert left_s < _TEN_YEARS_S, f"the token expires in {left_s:.0f} s; are these milliseconds?"
