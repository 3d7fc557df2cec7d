"""A company whose usage lies on a PostgreSQL server gets the scores that its files give."""

from __future__ import annotations

import uuid

import pandas as pd
import pytest
from postgres import fresh_database
from small_company import BEFORE, UNTIL, branch_of, trained, weekly
from test_server_log import put

from retain.tables.server import ServerLog

pytestmark = pytest.mark.slow


@pytest.fixture
def there(postgres, tmp_path, tmp_path_factory, capsys):
    """A branch of the small company whose usage was put on a server."""
    root = tmp_path_factory.getbasetemp()
    branch = branch_of(trained(root), tmp_path, capsys, with_store=True)
    kinds = {"int64": "bigint", "float64": "double precision", "datetime64[us]": "timestamp"}
    rows = branch.table("usage")
    types = {name: kinds.get(str(kind), "text") for name, kind in rows.dtypes.items()}
    server = fresh_database(postgres, f"s{uuid.uuid4().hex}")
    branch.settings["tables"]["usage"]["source"] = put(server, rows, **types)
    return branch


def test_scores_from_a_server_are_those_from_files(there, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(ServerLog, "__arrow_c_stream__", None)  # no event may come over
    for day in (BEFORE, UNTIL):
        assert there.run("score", "--as-of", day).code == 0

    files = weekly(tmp_path_factory.getbasetemp())
    pd.testing.assert_frame_equal(there.scores(), files.scores(), rtol=1e-9, atol=1e-12)
    assert there.manifest()["sources"]["usage"] == files.manifest()["sources"]["usage"]
