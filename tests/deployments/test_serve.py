"""`python -m deployments.serve` without a server: one sentence instead of a traceback."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import serve


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "No Prefect server is configured."),
        ("http://127.0.0.1:9/api", "http://127.0.0.1:9/api does not answer"),
    ],
)
def test_without_a_server_nothing_is_served(
    monkeypatch: pytest.MonkeyPatch, url: str | None, words: str
) -> None:
    """And the sentence has the next step."""
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    monkeypatch.setattr(serve, "serve", lambda *_, **__: pytest.fail("it was served"))
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(SystemExit) as stopped:
        serve.main()
    assert words in str(stopped.value)
    assert "prefect server start" in str(stopped.value)
