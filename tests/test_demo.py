"""The simulated company: its tables hang together, its faults are counted, its truth is true."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from retain.config import load_config
from retain.demo import make_company
from retain.demo.life import Life
from retain.demo.truth import Truth
from retain.demo.weekly import GONE, NOTICE, PAID, THEMES, Hazard, step
from retain.errors import RetainError, SnapshotError

UNTIL = dt.date(2026, 11, 15)
EPOCH = dt.date(1970, 1, 1)
IDS = {
    "customers": "customer_id",
    "subscriptions": "subscription_id",
    "payments": "payment_id",
    "usage": "event_id",
    "interactions": "interaction_id",
}


def weeks_before(weeks: int) -> dt.date:
    return UNTIL - dt.timedelta(weeks=weeks)


def without_faults(company):
    """The tables as anyone would clean them, by rules written here."""
    tables = {}
    known = set(company.tables["customers"]["customer_id"])
    end = pd.Timestamp(company.until) + pd.Timedelta(days=1)
    for name, table in company.tables.items():
        if name in IDS:
            table = table.drop_duplicates(IDS[name])
        for column in {"customer_id", "referrer_id"} & set(table):
            table = table[table[column].isin(known) | table[column].isna()]
        if name == "payments":
            table = table.dropna(subset=["paid_at"])
        if name == "usage":
            table = table[(table["occurred_at"] < end) & (table["duration_s"] >= 0)]
        if name == "interactions":
            table = table[table["handle_minutes"] >= 0]
        if name == "surveys":
            table = table[table["sent_at"].notna() & ~(table["score"] > 10)]
        tables[name] = table
    return tables


def eligible_and_churned(spans, as_of, horizon_weeks=13, grace_weeks=4):
    """Who pays on as_of with no cancellation known, and who of them leaves: from contracts only."""
    paid = spans[~spans["is_trial"]]
    evening = pd.Timestamp(as_of) + pd.Timedelta(hours=23, minutes=59)
    runs = (paid["started_at"] <= evening) & ~(paid["ended_at"] <= evening)
    eligible = set(paid.loc[runs & ~(paid["cancelled_at"] <= evening), "customer_id"])
    closes = evening + pd.Timedelta(weeks=horizon_weeks)
    ends = paid[(paid["ended_at"] > evening) & (paid["ended_at"] <= closes)]
    pairs = ends[["customer_id", "ended_at"]].merge(
        paid[["customer_id", "started_at"]], on="customer_id"
    )
    after = pairs["started_at"] - pairs["ended_at"]
    pairs["replaced"] = (after >= pd.Timedelta(0)) & (after <= pd.Timedelta(weeks=grace_weeks))
    replaced = pairs.groupby(["customer_id", "ended_at"])["replaced"].any().reset_index()
    return eligible, set(replaced.loc[~replaced["replaced"], "customer_id"])


def auc(score, label):
    rank = pd.Series(score).rank().to_numpy()
    positives = label.sum()
    below = rank[label].sum() - positives * (positives + 1) / 2
    return below / (positives * (~label).sum())


@pytest.fixture(scope="module")
def company():
    return make_company(400, weeks=70, seed=1)


@pytest.fixture(scope="module")
def clean(company):
    return without_faults(company)


def test_all_ten_tables_have_rows_and_one_row_per_customer(company, clean):
    assert list(company.tables) == [
        "customers",
        "departures",
        "subscriptions",
        "payments",
        "usage",
        "interactions",
        "surveys",
        "referrals",
        "costs",
        "treatments",
    ]
    assert all(len(table) for table in company.tables.values())
    assert len(clean["customers"]) == 400


def test_the_same_seed_gives_the_same_company_and_another_seed_another():
    first, again, other = (make_company(60, weeks=30, seed=s) for s in (5, 5, 6))
    for name, table in first.tables.items():
        pd.testing.assert_frame_equal(table, again.tables[name])
    as_of = weeks_before(15)
    pd.testing.assert_frame_equal(first.truth.at(as_of, runs=4), again.truth.at(as_of, runs=4))
    assert not first.tables["usage"].equals(other.tables["usage"])


def test_every_faulty_row_is_counted_with_its_reason(company):
    known = set(company.tables["customers"]["customer_id"])
    end = pd.Timestamp(UNTIL) + pd.Timedelta(days=1)

    def count(name, reason):
        table = company.tables[name]
        owner = "referrer_id" if name == "referrals" else "customer_id"
        kind, _, column = reason.partition(" ")
        return {
            "unknown": lambda: (~table[owner].isin(known)).sum(),
            "repeated": lambda: table.duplicated(column).sum(),
            "missing": lambda: table[column].isna().sum(),
            "negative": lambda: (table[column] < 0).sum(),
            "dated": lambda: (table["occurred_at"] >= end).sum(),
            "score": lambda: (table["score"] > 10).sum(),
            "answered": lambda: table[["sent_at", "answered_at"]].isna().all(axis=1).sum(),
        }[kind]()

    assert len(company.dirty) >= 15
    assert company.dirty == {key: count(*key) for key in company.dirty}


def test_the_good_rows_are_what_is_left_when_faulty_ones_are_set_aside(company, clean):
    for name, table in company.tables.items():
        faulty = sum(n for (of, _), n in company.dirty.items() if of == name)
        assert len(table) - faulty == len(clean[name]), name


@pytest.mark.parametrize(
    ("name", "at"),
    [("usage", "occurred_at"), ("interactions", "opened_at"), ("surveys", "sent_at")],
)
def test_nothing_happens_before_or_after_service(clean, name, at):
    spans = clean["subscriptions"]
    rows = clean[name].reset_index(drop=True).rename_axis("row").reset_index()
    joined = rows[["row", "customer_id", at]].merge(
        spans[["customer_id", "started_at", "ended_at"]], on="customer_id"
    )
    served = (joined[at] >= joined["started_at"]) & ~(joined[at] >= joined["ended_at"])
    assert set(rows["row"]) == set(joined.loc[served, "row"])


def test_spans_follow_one_another_and_cancelling_comes_before_the_end(clean):
    spans = clean["subscriptions"].sort_values(["customer_id", "started_at"])
    following = spans.groupby("customer_id")["started_at"].shift(-1)
    replaced = spans["end_reason"] == "replaced"
    assert (spans.loc[replaced, "ended_at"] == following[replaced]).all()
    assert (spans["ended_at"] <= following)[following.notna()].all()
    both = spans.dropna(subset=["cancelled_at", "ended_at"])
    assert len(both) > 20
    assert (both["cancelled_at"] < both["ended_at"]).all()
    assert set(spans["end_reason"].dropna()) == {"voluntary", "involuntary", "replaced"}
    assert (spans.loc[spans["is_trial"], "mrr"] == 0).all()


def test_nothing_is_known_after_the_export_day(clean):
    end = pd.Timestamp(UNTIL) + pd.Timedelta(days=1)
    for name, table in clean.items():
        for column in table.select_dtypes("datetime"):
            if column != "renews_at":
                assert not (table[column] >= end).any(), (name, column)


def test_some_rows_arrive_late_and_most_the_same_day(clean):
    for name, at in (("usage", "occurred_at"), ("interactions", "opened_at")):
        lag = clean[name]["recorded_at"].dt.normalize() - clean[name][at].dt.normalize()
        assert 0.01 < (lag >= pd.Timedelta(days=1)).mean() < 0.05
        assert (lag > pd.Timedelta(days=14)).any()
        assert (clean[name]["recorded_at"] >= clean[name][at]).all()


def test_hard_cases_have_contacts_that_follow_within_days(clean):
    contacts = clean["interactions"].sort_values("opened_at")
    cases = contacts.groupby("case_id")
    many = cases.filter(lambda case: len(case) > 2)
    assert many["case_id"].nunique() > 20
    assert (many.groupby("case_id")["customer_id"].nunique() == 1).all()
    assert (contacts["case_id"] <= contacts["interaction_id"]).all()
    later = many.groupby("case_id")["opened_at"].agg(lambda at: at.iloc[-1] - at.iloc[0])
    assert later.median() < pd.Timedelta(days=10)
    assert contacts["resolved_at"].isna().any()


def test_the_unhappy_are_silent_more_often(company, clean):
    as_of = weeks_before(10)
    mood = company.truth.at(as_of, runs=4).set_index("customer_id")["survey"]
    nps = clean["surveys"].query("kind == 'nps'").set_index("customer_id")
    near = (nps["sent_at"] - pd.Timestamp(as_of)).abs() < pd.Timedelta(weeks=20)
    near &= nps.index.isin(mood.dropna().index)
    worry = mood.reindex(nps.index[near]).to_numpy()
    answered = nps.loc[near, "answered_at"].notna().to_numpy()
    assert answered[worry > 0].mean() < answered[worry < 0].mean() - 0.1
    assert np.corrcoef(worry[answered], nps.loc[near, "score"][answered])[0, 1] < -0.3


def test_exported_columns_describe_the_export_day_and_so_betray_who_left(clean):
    spans = clean["subscriptions"].query("not is_trial")
    assert (
        spans.loc[spans["end_reason"].isin(["voluntary", "involuntary"]), "renews_at"].isna().all()
    )
    running = spans["ended_at"].isna() & spans["cancelled_at"].isna()
    assert (spans.loc[running, "renews_at"] > pd.Timestamp(UNTIL)).all()
    people = clean["customers"]
    left = people["account_status"] == "closed"
    assert people.loc[left, "owner"].isna().mean() > 0.6
    assert people.loc[~left, "owner"].notna().all()


def test_who_is_eligible_is_the_same_in_the_truth_and_in_the_contracts(company, clean):
    for as_of in (weeks_before(50), weeks_before(13), UNTIL):
        truth = company.truth.at(as_of, runs=2)
        eligible, _ = eligible_and_churned(clean["subscriptions"], as_of)
        assert eligible == set(truth.loc[truth["eligible"], "customer_id"])


def test_true_probabilities_add_up_to_those_who_left(company, clean):
    """Summed over four non-overlapping windows; 3.5 standard errors."""
    expected, variance, happened = 0.0, 0.0, 0
    for weeks in (17, 30, 43, 56):
        truth = company.truth.at(weeks_before(weeks), runs=16).query("eligible")
        _, churned = eligible_and_churned(clean["subscriptions"], weeks_before(weeks))
        p = truth["churn_probability"]
        expected, variance = expected + p.sum(), variance + (p * (1 - p)).sum()
        happened += truth["customer_id"].isin(churned).sum()
    assert abs(happened - expected) < 3.5 * np.sqrt(variance)


def test_truth_is_null_where_not_eligible_and_margin_is_known_for_everyone(company):
    truth = company.truth.at(weeks_before(20), runs=8)
    others = ~truth["eligible"]
    assert others.any()
    assert truth.loc[others, ["churn_probability", *THEMES, "main_theme"]].isna().all(axis=None)
    assert truth.loc[~others, ["churn_probability", *THEMES]].notna().all(axis=None)
    assert truth.loc[~others, "churn_probability"].between(0, 1).all()
    assert (truth["expected_margin"] >= 0).all()
    assert (truth.loc[~others, "expected_margin"] > 0).mean() > 0.95


def test_the_main_theme_is_the_visible_one_that_raises_most(company):
    truth = company.truth.at(weeks_before(20), runs=8).query("eligible")
    visible = truth[list(THEMES[:-1])]
    raises = visible.max(axis=1) > 0
    assert visible[raises].idxmax(axis=1).tolist() == truth.loc[raises, "main_theme"].tolist()
    assert truth.loc[~raises, "main_theme"].isna().all()


def test_a_theme_without_weight_contributes_nothing():
    truth = make_company(80, weeks=30, seed=2, weights={"effort": 0.0}).truth.at(UNTIL, runs=4)
    assert (truth["effort"].dropna() == 0).all()
    assert (truth["usage"].dropna() != 0).any()


def test_a_drift_of_the_base_rate_shows_in_the_truth():
    rising = make_company(80, weeks=110, seed=2, yearly_drift=0.5).truth
    early, late = (rising.life.hazard.intercept(week) for week in (0, 104))
    assert late - early == pytest.approx(1.0)


def test_a_longer_horizon_never_lowers_the_probability(company):
    as_of = weeks_before(30)
    short, long = (company.truth.at(as_of, weeks, runs=8) for weeks in (4, 13))
    assert (long["churn_probability"] >= short["churn_probability"])[
        short["eligible"]
    ].mean() == 1.0


def test_nobody_leaves_on_a_path_that_only_carries_probabilities(company):
    life = company.truth.life
    people, state = life.state_at(40)
    rng = np.random.default_rng(0)
    after, happened = step(people, state, 41, life.day_of(41), life.hazard, rng, leave=False)
    assert (happened.ended == -1).all()
    assert (after.status[state.eligible] == PAID).all()
    assert (happened.chance[state.eligible] > 0).all()
    assert (happened.chance[~state.eligible] == 0).all()


def test_the_truth_knows_only_complete_weeks(company):
    with pytest.raises(SnapshotError, match=r"2026-11-14 \(Saturday\); it is known at the end"):
        company.truth.at(dt.date(2026, 11, 14))
    with pytest.raises(SnapshotError, match="from 2025-07-20 to 2026-11-15, always a Sunday"):
        company.truth.at(UNTIL + dt.timedelta(weeks=1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "event"}, "found kind='event'; expected 'contract' or 'inactivity'"),
        ({"n_customers": 0}, "found n_customers=0; expected at least 1"),
        ({"weeks": 5}, "found weeks=5; expected at least 14"),
        ({"until": dt.date(2026, 11, 14)}, "a Saturday; expected a Sunday"),
        ({"weights": {"prize": 2.0}}, "weights for prize; expected themes among usage"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong, said):
    with pytest.raises(RetainError, match=said):
        make_company(**wrong)


def test_written_files_hold_every_row_under_the_names_that_the_configuration_maps(
    company, tmp_path
):
    config = load_config(company.write(tmp_path / "demo"))
    renamed = 0
    for name, mapping in config.tables.items():
        table = pd.concat(
            pd.read_parquet(file)
            for file in sorted((tmp_path / "demo").glob(str(mapping.source).split("demo/")[-1]))
        )
        ours = company.tables[name]
        assert len(ours) == len(table), name
        assert set(ours.columns) == {*mapping.columns, *mapping.attributes}, name
        assert set(table.columns) == {*mapping.columns.values(), *mapping.attributes}, name
        renamed += sum(ours != theirs for ours, theirs in mapping.columns.items())
        for column, words in mapping.values.items():
            said = table[mapping.columns[column]].dropna()
            assert set(ours[column].dropna()) == {words[word] for word in said.unique()}
    assert renamed > 10
    assert (config.churn.horizon_weeks, config.churn.grace_weeks) == (13, 4)
    assert (config.company, config.week_ends_on, config.data_until) == ("demo", "sunday", UNTIL)


def life_of(seed: int, n_customers: int = 5000, weeks: int = 130) -> Life:
    return Life(n_customers, weeks, (UNTIL - EPOCH).days + 1 - 7 * weeks, seed, Hazard())


def left_within(events: pd.DataFrame, as_of: dt.date, weeks: int = 13) -> set[int]:
    day = (as_of - EPOCH).days
    ends = events[(events["kind"] == "ended") & events["day"].between(day + 1, day + 7 * weeks)]
    back = events.loc[events["kind"] == "resumed", ["who", "day"]]
    pairs = ends[["who", "day"]].merge(back, on="who", how="left", suffixes=("", "_back"))
    pairs["back"] = (pairs["day_back"] - pairs["day"]).between(0, 28)
    left = pairs.groupby(["who", "day"])["back"].any()
    return set(left[~left].reset_index()["who"])


@pytest.fixture(scope="module")
def years():
    """Five as_ofs of three companies of full size: truth, what happened, days without use."""
    found = []
    for seed in (1, 2, 3):
        life = life_of(seed)
        _, record = life.record()
        truth = Truth(life, tuple(str(n) for n in range(5000)))
        for weeks in (17, 30, 43, 56, 69):
            frame = truth.at(weeks_before(weeks), runs=32).query("eligible").copy()
            left = left_within(record.events, weeks_before(weeks))
            frame["churned"] = frame["customer_id"].astype(int).isin(left)
            found.append(frame.assign(seed=seed, weeks=weeks))
    return pd.concat(found, ignore_index=True)


@pytest.mark.slow
def test_the_truth_is_calibrated_in_every_tenth(years):
    tenth = pd.qcut(years["churn_probability"], 10, labels=False)
    for _, rows in years.groupby(tenth):
        p = rows["churn_probability"]
        # the same customers return at other as_ofs, which widens the error: four standard errors
        assert abs(rows["churned"].mean() - p.mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / len(p)


@pytest.mark.slow
def test_base_rate_and_what_can_be_known_are_as_designed(years):
    by_company = years.groupby("seed")
    assert by_company["churned"].mean().between(0.08, 0.12).all()
    for _, rows in years.groupby(["seed", "weeks"]):
        label = rows["churned"].to_numpy()
        assert 0.76 < auc(rows["churn_probability"], label) < 0.88
    for _, rows in by_company:
        label = rows["churned"].to_numpy()
        oracle = auc(rows["churn_probability"], label)
        visible = auc(rows[list(THEMES[:-1])].sum(axis=1), label)
        assert 0.79 < oracle < 0.86
        assert 0.01 < oracle - visible < 0.05  # the hidden state cannot be reached
        assert visible > 0.1 + max(auc(rows[theme], label) for theme in THEMES[:-1])


@pytest.mark.slow
def test_four_themes_are_the_main_one_for_a_fair_share_of_the_riskiest(years):
    for _, rows in years.groupby("seed"):
        risky = rows["churn_probability"] >= rows["churn_probability"].quantile(0.9)
        shares = rows.loc[risky, "main_theme"].value_counts(normalize=True)
        assert shares.max() < 0.45
        assert (shares[["usage", "effort", "survey", "commercial"]] > 0.12).all()


@pytest.mark.slow
def test_probabilities_carried_along_paths_equal_endings_drawn_on_them():
    life, week, runs, weeks = life_of(4, n_customers=2000), 100, 120, 52
    truth = Truth(life, tuple(str(n) for n in range(2000))).at(weeks_before(29), runs=120)
    people, state = life.state_at(week)
    who = np.repeat(np.flatnonzero(people.joins <= week), runs)
    people, state = people.take(who), state.take(who)
    eligible, rng = truth["eligible"].to_numpy(), np.random.default_rng(9)
    churned, collected, accrued = np.zeros(len(who), dtype=bool), 0.0, 0.0
    for ahead in range(1, weeks + 1):
        day = life.day_of(week + ahead)
        state, happened = step(people, state, week + ahead, day, life.hazard, rng)
        ended = happened.ended >= 0
        if ahead <= 13:
            churned |= ended & (state.status == GONE)
        served = np.isin(state.status, (PAID, NOTICE)).astype(float)
        served[ended] = (happened.ended[ended] - day) / 7
        begun = np.maximum(happened.resumed, happened.converted)
        served[begun >= 0] = 1 - (begun[begun >= 0] - day) / 7
        discount = 0.8 * 1.1 ** (-ahead / 52)
        collected = collected + happened.collected * discount * 0.997
        accrued = accrued + served * state.mrr * 12 / 52 * discount
    drawn = churned.reshape(-1, runs).mean(axis=1)[eligible]
    carried = truth.loc[eligible, "churn_probability"].to_numpy()
    assert drawn.mean() == pytest.approx(carried.mean(), rel=0.02)
    band = np.digitize(carried, [0.02, 0.05, 0.1, 0.2, 0.4])
    for n in range(6):
        here = band == n
        mean = carried[here].mean()
        error = np.sqrt(mean * (1 - mean) / (here.sum() * runs))
        assert abs(drawn[here].mean() - mean) < 4 * error
    for money, column in ((collected, "expected_margin"), (accrued, "expected_mrr_margin")):
        by_customer = money.reshape(-1, runs).mean(axis=1)
        assert by_customer.sum() == pytest.approx(truth[column].sum(), rel=0.015)
        assert np.corrcoef(by_customer[eligible], truth.loc[eligible, column])[0, 1] > 0.98
