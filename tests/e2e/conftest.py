"""The engines on which whole runs are tried."""

from __future__ import annotations

import os

import pytest

ENGINE_HOST = os.environ.get("DAGTASKS_TEST_ENGINE_HOST")
REAL = pytest.mark.skipif(not ENGINE_HOST, reason="DAGTASKS_TEST_ENGINE_HOST names no Dagger engine")


@pytest.fixture(params=["local", pytest.param("dagger", marks=(pytest.mark.engine, REAL))])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine that commands use; the real one where there is one."""
    monkeypatch.setenv("DAGTASKS_ENGINE", request.param)
    if ENGINE_HOST:
        monkeypatch.setenv("DAGTASKS_ENGINE_HOST", ENGINE_HOST)
    return str(request.param)
