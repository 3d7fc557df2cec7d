"""Tracking: what a training leaves behind, who is champion, and that nothing leaves the house."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import warnings
from datetime import date
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from retain.errors import RetainError, StoreError
from retain.tracking import (
    TrainingRecord,
    champion_bundle,
    check_reachable,
    flattened,
    list_versions,
    promote,
    record_results,
    record_training,
    redacted,
    tracking_uri,
)

MODEL = "acme-churn"
TOLD = {"experiment": "acme", "registered_model": MODEL}


def booster(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 3))
    X[::7, 1] = np.nan
    rows = lightgbm.Dataset(X, X[:, 0] > 0, feature_name=["logins_4w", "effort_13w", "plan"])
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, rows, 3)


def record(folder: Path, name="one", **changes) -> TrainingRecord:
    bundle = folder / f"bundle-{name}"
    (bundle / "churn").mkdir(parents=True)
    (bundle / "manifest.json").write_text(json.dumps({"name": name}))
    (bundle / "churn" / "model.txt").write_text("tree")
    plots = folder / f"plots-{name}"
    plots.mkdir()
    (plots / "calibration.svg").write_text("<svg/>")
    card = folder / f"card-{name}.html"
    card.write_text("<h1>card</h1>")
    made = TrainingRecord(
        run_name=f"acme {name}",
        model_version=f"2026-11-15-{name}",
        config_version="c0ffee",
        settings={
            "company": "acme",
            "churn": {"horizon_weeks": 13, "kind": "contract"},
            "tables": {"usage": {"source": "postgresql://ann:pa55word@db/usage"}},
            "tracking": {"password": "pa55word", "password_env": "TRACKING_PASSWORD"},
            "long": "x" * 900,
            "hosts": [{"api_key": "pa55word"}],
        },
        metrics={"auc": 0.75, "capture_at_40": 0.3, "clv_gini": float("nan")},
        metrics_by_as_of={
            date(2026, 8, 2): {"auc": 0.7},
            date(2026, 8, 30): {"auc": 0.8},
        },
        fingerprints={"usage": "aaa", "surveys": "bbb"},
        tags={"trained for": "test"},
        bundle=bundle,
        boosters={"churn": booster()},
        artifacts={"plots": plots, "": card},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def uri(store) -> str:
    return tracking_uri(store)


@pytest.fixture(scope="module")
def first(uri, tmp_path_factory):
    return record_training(record(tmp_path_factory.mktemp("first")), uri=uri, **TOLD)


@pytest.fixture(scope="module")
def run(uri, first):
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return mlflow.MlflowClient(uri, uri).get_run(first.run_id)


@pytest.fixture
def model(request, uri, tmp_path):
    """A registered model of its own for every test that moves aliases."""
    name = request.node.name
    told = {"uri": uri, "experiment": "acme", "registered_model": name}
    record_training(record(tmp_path, "one"), **told)
    record_training(record(tmp_path, "two"), **told)
    return name


def test_without_a_server_everything_stays_in_the_store(store, first):
    assert (store / "mlflow.db").exists()
    assert (store / "mlartifacts" / first.run_id / "artifacts" / "bundle").is_dir()
    assert first.uri == f"sqlite:///{store.resolve()}/mlflow.db"


def test_a_training_leaves_its_settings_figures_and_fingerprints(run):
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "acme one"
    assert run.data.params["churn.horizon_weeks"] == "13"
    assert len(run.data.params["long"]) < 500
    assert run.data.metrics["auc"] == 0.75
    assert run.data.metrics["by_as_of/auc"] == 0.8
    assert run.data.tags["data.usage"] == "aaa"
    assert run.data.tags["config_version"] == "c0ffee"
    assert run.data.tags["model_version"] == "2026-11-15-one"
    assert run.data.tags["trained for"] == "test"


def test_undefined_figures_are_named_instead_of_logged(run):
    assert "clv_gini" not in run.data.metrics
    assert run.data.tags["undefined_metrics"] == "clv_gini"


def test_figures_per_snapshot_carry_the_date_as_step(uri, first):
    import mlflow

    history = mlflow.MlflowClient(uri, uri).get_metric_history(first.run_id, "by_as_of/auc")

    assert {one.step: one.value for one in history} == {20260802: 0.7, 20260830: 0.8}


def test_no_secret_reaches_any_file_of_the_store(store, run):
    held = [path for path in store.rglob("*") if path.is_file()]

    assert any(path.name == "settings.json" for path in held)
    assert not [path for path in held if b"pa55word" in path.read_bytes()]
    assert run.data.params["tracking.password_env"] == "TRACKING_PASSWORD"


def test_plots_card_and_settings_are_kept_where_they_were_put(store, first):
    artifacts = store / "mlartifacts" / first.run_id / "artifacts"
    kept = {str(p.relative_to(artifacts)) for p in artifacts.rglob("*") if p.is_file()}

    assert kept == {
        "bundle/manifest.json",
        "bundle/churn/model.txt",
        "plots/calibration.svg",
        "card-one.html",
        "settings.json",
    }


def test_the_registered_model_is_lightgbm_text_with_doubles_only(store, uri, first):
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        mlflow.set_tracking_uri(uri)
        try:
            loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
        finally:
            mlflow.set_tracking_uri(None)
    types = {column.name: column.type.name for column in loaded.metadata.signature.inputs}
    assert types == dict.fromkeys(["logins_4w", "effort_13w", "plan"], "double")
    files = {path.name for path in (store / "mlartifacts" / "models").rglob("*")}
    assert "model.lgb" in files
    assert not {name for name in files if name.endswith((".pkl", ".pickle", ".skops"))}
    requirements = next((store / "mlartifacts" / "models").rglob("requirements.txt")).read_text()
    assert f"lightgbm=={lightgbm.__version__}" in requirements

    X = np.random.default_rng(5).normal(size=(20, 3))
    import pandas as pd

    frame = pd.DataFrame(X, columns=["logins_4w", "effort_13w", "plan"])
    assert (loaded.predict(frame) == booster().predict(X)).all()


def test_the_first_version_is_champion_and_its_bundle_comes_back_whole(uri, first, tmp_path):
    assert (first.version, first.is_champion) == (1, True)
    folder = champion_bundle(tmp_path / "fetched", uri=uri, registered_model=MODEL)

    assert json.loads((folder / "manifest.json").read_text()) == {"name": "one"}
    assert (folder / "churn" / "model.txt").read_text() == "tree"
    assert [folder.name] == [path.name for path in folder.parent.iterdir()]

    (folder / "manifest.json").write_text("kept")
    assert folder == champion_bundle(tmp_path / "fetched", uri=uri, registered_model=MODEL)
    assert (folder / "manifest.json").read_text() == "kept"


def test_the_second_version_is_a_challenger_until_promoted(uri, model, tmp_path):
    told = {"uri": uri, "registered_model": model}
    newest, oldest = list_versions(**told)
    assert (newest.version, newest.aliases) == (2, ("challenger",))
    assert (oldest.version, oldest.aliases) == (1, ("champion",))
    assert newest.model_version == "2026-11-15-two"
    assert newest.metrics["auc"] == 0.75

    promoted = promote("challenger", **told)
    assert (promoted.version, promoted.aliases) == (2, ("champion",))
    assert list_versions(**told)[1].aliases == ("previous_champion",)
    folder = champion_bundle(tmp_path / "fetched", **told)
    assert json.loads((folder / "manifest.json").read_text()) == {"name": "two"}

    back = promote("previous_champion", **told)
    assert (back.version, back.aliases) == (1, ("champion",))
    assert promote(1, **told).aliases == ("champion",)
    assert promote("2026-11-15-two", **told).version == 2
    old = champion_bundle(tmp_path / "fetched", version=1, **told)
    assert json.loads((old / "manifest.json").read_text()) == {"name": "one"}


def test_a_training_is_champion_or_not_as_told(uri, tmp_path):
    told = {"uri": uri, "experiment": "acme", "registered_model": "as-told"}
    first = record_training(record(tmp_path, "a"), champion=False, **told)
    assert not first.is_champion
    with pytest.raises(
        RetainError, match=r"no version is the champion; registered: version 1 \(2026-11-15"
    ):
        champion_bundle(tmp_path, uri=uri, registered_model="as-told")
    second = record_training(record(tmp_path, "b"), champion=True, **told)
    assert second.is_champion
    assert [v.aliases for v in list_versions(uri=uri, registered_model="as-told")] == [
        ("champion",),
        ("challenger",),
    ]


def test_the_champion_trained_once_more_challenges_nobody(uri, tmp_path):
    """Seen to fail: it was registered as a challenger that could not be promoted."""
    told = {"uri": uri, "experiment": "acme", "registered_model": "once-more"}
    record_training(record(tmp_path, "a"), **told)
    reigning = record(tmp_path, "b")
    record_training(reigning, champion=True, **told)

    again = record_training(reigning, **told)

    assert again.is_champion
    assert [v.aliases for v in list_versions(uri=uri, registered_model="once-more")] == [
        (),
        ("champion",),
        ("previous_champion",),
    ]


def test_several_heads_are_logged_and_the_first_is_registered(uri, tmp_path):
    import mlflow

    both = record(tmp_path, boosters={"churn": booster(), "clv": booster(1)})
    told = {"uri": uri, "experiment": "acme", "registered_model": "two-heads"}
    ref = record_training(both, **told)
    client = mlflow.MlflowClient(uri, uri)
    models = client.search_logged_models([ref.experiment_id])
    mine = {m.model_id: m.name for m in models if m.source_run_id == ref.run_id}

    assert sorted(mine.values()) == ["churn", "clv"]
    source = client.get_model_version("two-heads", str(ref.version)).source
    assert mine[source.removeprefix("models:/")] == "churn"


def test_a_training_that_fails_half_way_is_marked_failed(uri, tmp_path):
    import mlflow

    class Broken:
        def feature_name(self):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        record_training(
            record(tmp_path, "broken", boosters={"churn": Broken()}),
            uri=uri,
            experiment="failing",
            registered_model="never",
        )
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("failing").experiment_id
    assert [r.info.status for r in client.search_runs([experiment])] == ["FAILED"]
    assert list_versions(uri=uri, registered_model="never") == ()


def test_realised_results_are_added_to_a_training(uri, first):
    import mlflow

    record_results(first.run_id, {"realised_auc": 0.7}, uri=uri, as_of=date(2026, 11, 22))
    history = mlflow.MlflowClient(uri, uri).get_metric_history(first.run_id, "realised_auc")

    assert [(one.step, one.value) for one in history] == [(20261122, 0.7)]
    with pytest.raises(StoreError, match=r"nosuch.* not found"):
        record_results("nosuch", {"x": 1.0}, uri=uri)


def test_a_store_that_was_moved_still_gives_its_champion(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    record_training(record(tmp_path), uri=tracking_uri(here), **TOLD)
    here.rename(there)
    moved = tracking_uri(there)
    folder = champion_bundle(tmp_path / "fetched", uri=moved, registered_model=MODEL)

    assert (folder / "manifest.json").exists()
    with pytest.raises(StoreError, match=r"the store was moved. Choose another name"):
        record_training(record(tmp_path, "later"), uri=moved, **TOLD)
    assert not here.exists()


def test_a_bundle_that_is_gone_is_said_to_be_gone(uri, tmp_path):
    import shutil

    told = {"uri": uri, "registered_model": "gone"}
    ref = record_training(record(tmp_path), experiment="acme", **told)
    root = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    shutil.rmtree(root / ref.run_id)
    with pytest.raises(StoreError, match=r"tracking at sqlite|holds no folder 'bundle'"):
        champion_bundle(tmp_path / "fetched", **told)
    assert list((tmp_path / "fetched").iterdir()) == []


def test_an_unknown_model_or_version_says_what_there_is(uri, first, tmp_path):
    assert list_versions(uri=uri, registered_model="it's new") == ()
    with pytest.raises(RetainError, match=r"nothing registered under this name yet. Run `retain"):
        champion_bundle(tmp_path, uri=uri, registered_model="it's new")
    with pytest.raises(
        RetainError, match=r"no version '9'; registered: version 1 \(2026-11-15-one"
    ):
        promote(9, uri=uri, registered_model=MODEL)


def test_what_should_be_kept_must_be_there_before_a_run_begins(uri, tmp_path):
    with pytest.raises(RetainError, match="no booster to register"):
        record_training(record(tmp_path, "x", boosters={}), uri=uri, **TOLD)
    lost = record(tmp_path, "y", artifacts={"": tmp_path / "nowhere.html"})
    with pytest.raises(RetainError, match=r"nowhere.html should be kept but is not there"):
        record_training(lost, uri=uri, **TOLD)


def test_an_unreachable_server_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError) as told:  # noqa: PT011 - the message is compared below
        check_reachable("http://ann:pa55word@127.0.0.1:9")
    message = str(told.value)

    assert message.startswith("tracking at http://***@127.0.0.1:9: MlflowException")
    assert "Check that the server runs" in message
    assert "pa55word" not in message
    assert "ann" not in message.replace("channel", "")
    assert told.value.__suppress_context__


def test_an_unsupported_uri_is_told():
    with pytest.raises(StoreError, match=r"Use an http\(s\) server"):
        check_reachable("nonsense://x")


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all")
    with pytest.raises(StoreError, match=r"found something that is no SQLite database. Move it"):
        check_reachable(tracking_uri(tmp_path))


def test_a_store_below_a_file_is_refused_at_once(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="Choose a store that can be written"):
        check_reachable(tracking_uri(tmp_path / "store"))


def test_it_is_quiet_and_leaves_mlflow_as_it_was(uri, first, capfd, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.invalid")
    mlflow.set_tracking_uri("http://elsewhere.invalid")
    level = logging.getLogger("mlflow").level
    try:
        list_versions(uri=uri, registered_model=MODEL)
        assert mlflow.get_tracking_uri() == "http://elsewhere.invalid"
        assert mlflow.get_registry_uri() == "http://elsewhere.invalid"
        assert "MLFLOW_REGISTRY_URI" not in os.environ
        assert logging.getLogger("mlflow").level == level
        assert mlflow.active_run() is None
    finally:
        mlflow.set_tracking_uri(None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://mlflow.example.com/x", "https://mlflow.example.com/x"),
        ("https://ann:pa55@mlflow.example.com", "https://***@mlflow.example.com"),
        ("https://tok3n@mlflow.example.com", "https://***@mlflow.example.com"),
        ("failed: mysql+pymysql://a:b@h/d now", "failed: mysql+pymysql://***@h/d now"),
        ("s3://bucket/x?sig=abc&v=1", "s3://bucket/x?sig=***&v=1"),
        ("mail ann@example.com", "mail ann@example.com"),
    ],
)
def test_secrets_in_uris_become_stars(text, shown):
    assert redacted(text) == shown


def test_settings_are_flattened_with_empty_sections_and_lists():
    flat = flattened({"a": {"b": {"c": None}}, "d": {}, "e": [1, "x"], "f": True, "secret": None})

    assert flat == {"a.b.c": "None", "d": "{}", "e": "[1, 'x']", "f": "True", "secret": "None"}


QUIETLY = """
import os, socket, sys
attempts = []
def refuse(*args, **kwargs):
    attempts.append(args[-1] if args else kwargs)
    raise OSError("no network in this test")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse

from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_tracking as t
folder = Path(sys.argv[2])
from retain.tracking import record_training, tracking_uri, champion_bundle
uri = tracking_uri(folder)
record_training(t.record(folder), uri=uri, **t.TOLD)
champion_bundle(folder / "fetched", uri=uri, registered_model=t.MODEL)
import mlflow.telemetry
assert mlflow.telemetry.get_telemetry_client() is None, "telemetry is on"
assert not attempts, attempts
"""

# what MLflow takes for a sign that it is being tested, and what would decide for it
PRETENDING = ("CI", "GITHUB_", "GITLAB_", "PYTEST_", "MLFLOW_", "DO_NOT_TRACK", "BUILD", "JENKINS")
PRETENDING += ("TRAVIS", "TF_BUILD", "BITBUCKET", "CODEBUILD", "TEAMCITY", "CLOUD_RUN", "RUNBOT")


@pytest.mark.slow
def test_nothing_calls_home_where_nobody_knows_it_is_a_test(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(PRETENDING)}
    done = subprocess.run(
        [sys.executable, "-c", QUIETLY, str(Path(__file__).parent), str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=tmp_path,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "mlruns").exists()


def test_importing_the_room_does_not_import_mlflow():
    look = "import sys, retain.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
