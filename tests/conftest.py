"""What every test shares: quiet threads, hypothesis without deadlines, databases."""

import contextlib
import os
import uuid

# before anything imports OpenMP: threads that spin cost minutes on a shared machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "retain", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("retain")


@pytest.fixture(scope="session")
def postgres():
    """The socket's folder of a private PostgreSQL server; skips where there can be none."""
    from postgres import NoServer, postgres_server

    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(postgres_server())
        except NoServer as why:
            pytest.skip(str(why))
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'actions.db'}"
    from postgres import fresh_database

    return fresh_database(request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}")
