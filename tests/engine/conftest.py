from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from running import Engine

from dagtasks.engine.local import LocalExecutor
from dagtasks.settings import EngineSettings

ENGINE_HOST = os.environ.get("DAGTASKS_TEST_ENGINE_HOST")
REAL = pytest.mark.skipif(not ENGINE_HOST, reason="DAGTASKS_TEST_ENGINE_HOST names no Dagger engine")


@pytest.fixture(scope="session")
def local() -> Iterator[Engine]:
    with Engine("local", LocalExecutor(EngineSettings(name="local"), grace=0.5)) as engine:
        yield engine


@pytest.fixture(scope="session")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    from dagtasks.engine.dagger import DaggerExecutor
    from tests.dagger_session import dagger_session

    with dagger_session(tmp_path_factory.mktemp("dagger")) as variables, pytest.MonkeyPatch.context() as environment:
        environment.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
        engine = Engine("double", DaggerExecutor(EngineSettings()))
        for name, value in variables.items():
            environment.setenv(name, value)
        with engine:
            for name in variables:
                environment.delenv(name)
            yield engine


@pytest.fixture(scope="session")
def real() -> Iterator[Engine]:
    from dagtasks.engine.dagger import DaggerExecutor

    with Engine("real", DaggerExecutor(EngineSettings(host=ENGINE_HOST))) as engine:
        yield engine


@pytest.fixture(
    params=["local", "double", pytest.param("real", marks=(pytest.mark.engine, REAL))],
    scope="session",
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each executor in turn: local, the Dagger executor with the session double, and with a real engine."""
    found: Engine = request.getfixturevalue(request.param)
    return found
