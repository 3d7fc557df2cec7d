"""`retain init`: a proposal loads, reads, and shows what it is guessed from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from retain.config import Config, load_config
from retain.demo import make_company
from retain.errors import TableError
from retain.tables import Mapping, Tables, propose_config, read_tables

PUBLIC = Path(__file__).parents[2] / "shared" / "data"
needs_public = pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="the public data sets are not beside the repository"
)


def load_and_read(text: str, folder: Path) -> tuple[Config, Tables]:
    path = folder / "proposed.yaml"
    path.write_text(text)
    config = load_config(path)
    mappings = {
        name: Mapping(**{key: getattr(table, key) for key in type(table).model_fields})
        for name, table in config.tables.items()
    }
    return config, read_tables(mappings, timezone=config.timezone, currency=config.currency)


def test_a_simulated_company_is_recognised_table_by_table(tmp_path: Path) -> None:
    company = make_company(120, weeks=40)
    company.write(tmp_path)
    text = propose_config(tmp_path / "data")
    config, tables = load_and_read(text, tmp_path / "data")
    with tables:
        assert set(company.tables) == {name for name, _ in config.tables.items()}
        assert config.churn.kind == "contract"
        assert sum(company.dirty.values()) == sum(
            sum(counts.set_aside.values()) for counts in tables.counts.values()
        )
    assert "end_reason: {renewed: replaced" in text or "payment_failed: involuntary" in text
    assert "occurred_at: ts   # 20" in text  # each column with examples
    assert "clicks/part*.parquet" in text


def test_what_retain_itself_wrote_is_no_export(tmp_path: Path) -> None:
    make_company(120, weeks=40).write(tmp_path)
    store = tmp_path / "store"
    for name in ("metrics/2026-10", "mlartifacts/a1"):
        (store / name).mkdir(parents=True)
        pd.DataFrame({"customer_id": ["A"], "n": [1]}).to_csv(store / name / "effort.csv")
    (store / ".lock").touch()

    assert "effort.csv" not in propose_config(tmp_path)
    with pytest.raises(TableError, match="is a store"):
        propose_config(store)


@needs_public
def test_ravenstack_is_recognised_with_a_join_and_the_scores_of_its_tickets(
    tmp_path: Path,
) -> None:
    text = propose_config(PUBLIC / "ravenstack", relative_to=tmp_path)
    config, tables = load_and_read(text, tmp_path)
    with tables:
        assert {
            *("customers", "departures", "subscriptions", "usage", "interactions", "surveys")
        } == {name for name, _ in config.tables.items()}
        assert tables.counts["usage"].used == 24979
        assert tables.counts["surveys"].used == 1175
        assert config.currency == "USD"
    assert "# attributes: [account_name, country, referral_source, is_trial]" in text


def test_a_plain_order_list_is_enough_and_other_date_formats_are_noticed(tmp_path: Path) -> None:
    orders = pd.DataFrame(
        {
            "Order No": [1, 2, 3],
            "CustomerID": ["x", "y", "x"],
            "Order Date": ["31/01/2024", "02/02/2024", "15/03/2024"],
            "Total": [9.5, 3, 2],
            "Discount": [0, 1, 0],
        }
    )
    orders.to_csv(tmp_path / "Orders.csv", index=False)
    text = propose_config(tmp_path)
    config, tables = load_and_read(text, tmp_path)
    with tables:
        assert config.churn.kind == "inactivity"
        assert tables.counts["payments"].used == 3
        assert config.tables.payments.datetime_format == "%d/%m/%Y"  # type: ignore[union-attr]
    assert "# measures: [Discount]" in text


def test_words_that_nobody_knows_are_asked_about_and_their_column_left_out(tmp_path: Path) -> None:
    paid = pd.DataFrame(
        {
            "customer_id": ["x", "y"],
            "paid_at": ["2024-01-31", "2024-02-01"],
            "amount": [1, 2],
            "status": ["grün", "paid"],
        }
    )
    paid.to_parquet(tmp_path / "invoices.parquet")
    text = propose_config(tmp_path)
    assert "# status: say what grün mean" in text
    _, tables = load_and_read(text, tmp_path)
    with tables:
        assert tables.counts["payments"].used == 2


def test_files_that_fit_nothing_are_mentioned(tmp_path: Path) -> None:
    pd.DataFrame({"customer_id": ["x"], "ts": ["2024-01-31"]}).to_csv(tmp_path / "events.csv")
    pd.DataFrame({"colour": ["red"]}).to_csv(tmp_path / "paint.csv", index=False)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    text = propose_config(tmp_path)
    assert "# not used: paint.csv" in text
    assert "# not read: broken.parquet" in text


def test_a_folder_without_behaviour_is_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is not a folder"):
        propose_config(tmp_path / "nowhere")
    with pytest.raises(TableError, match="holds no Parquet or CSV files; found none"):
        propose_config(tmp_path)
    pd.DataFrame({"colour": ["red"]}).to_csv(tmp_path / "paint.csv", index=False)
    with pytest.raises(TableError, match=r"no file looks like behaviour.*paint.csv \(colour\)"):
        propose_config(tmp_path)
