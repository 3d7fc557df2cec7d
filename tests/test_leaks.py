"""Leaks: planted ones are found by name and number, honest columns and companies are left alone."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from small_company import UNTIL, branch_of, trained

from retain.errors import RetainError
from retain.jobs import check
from retain.jobs.opening import open_company
from retain.leaks import find_leaks, find_leaks_in_time
from retain.leaks.suspect import auc_low, share_low

SHARED = Path(__file__).parents[2] / "shared" / "data"


def named(found, *severities):
    return {one.where for one in found if one.severity in (severities or ("error", "warning"))}


# ---- a plain frame ------------------------------------------------------------------------------


def leavers(n=400, left=100):
    return np.r_[np.ones(left), np.zeros(n - left)]


def noise(n=400, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n, columns))).add_prefix("noise ")


def telco_ext():
    folder = SHARED / "telco_ibm_ext"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    tables = [
        pd.read_parquet(folder / f"{name}.parquet").set_index("Customer ID")
        for name in ("demographics", "location", "services", "status")
    ]
    X = pd.concat(tables, axis=1).loc[:, lambda t: ~t.columns.duplicated()].reset_index()
    return X, X.pop("Churn Value")


AFTER_THE_OUTCOME = {
    "Satisfaction Score",
    "Churn Score",
    "Customer Status",
    "Churn Category",
    "Churn Reason",
    "Churn Label",
}


def test_the_planted_leaks_of_the_telephone_company_are_found_and_nothing_else():
    X, y = telco_ext()

    found = find_leaks(X, y)

    assert AFTER_THE_OUTCOME == named(found, "error")
    assert {"CLTV"} == named(found, "warning")  # its numbers say little, its name says it all
    by_name = {one.where: one for one in found}
    satisfaction = by_name["Satisfaction Score"]
    assert "1,440 rows with 1, 2 left; 2,938 rows with 4, 5 stayed" in satisfaction.message
    assert 0.946 == pytest.approx(satisfaction.evidence["auc_alone"], abs=0.005)
    assert 1440 / 1869 == pytest.approx(
        satisfaction.evidence["left_with_values_of_leavers_only"], abs=1e-4
    )
    assert 1.0 == by_name["Churn Reason"].evidence["auc_alone"]


def test_without_the_planted_leaks_nothing_is_found():
    X, y = telco_ext()

    assert () == find_leaks(X.drop(columns=[*AFTER_THE_OUTCOME, "CLTV"]), y)


def test_an_honest_company_is_left_alone():
    path = SHARED / "telco_ibm" / "telco.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    X = pd.read_parquet(path)
    y = (X.pop("Churn") == "Yes").astype(int)

    assert () == find_leaks(X, y)


def test_the_bound_is_tighter_the_more_customers_there_are():
    # Hanley and McNeil, A = .9, 50 and 50: (.09 + 49 x .00818 + 49 x .04263) / 2500 = .0321 squared
    # and .9 - 2.33 x .0321
    assert 0.8252 == pytest.approx(auc_low(0.9, 50, 50), abs=2e-4)
    assert auc_low(0.9, 50, 50) < auc_low(0.9, 500, 500) < 0.9
    # Wilson, 10 of 10: 10 / (10 + 2.33 squared)
    assert 10 / (10 + 2.33**2) == pytest.approx(share_low(1.0, 10))


def test_chance_accuses_nobody_however_many_columns_there_are():
    X = noise(60, 300)  # the best of 300 ranks these few rows with AUC .75 and more

    assert () == find_leaks(X, leavers(60, 20), together=False)


def test_ids_and_free_text_are_not_accused():
    X = noise().assign(id=np.arange(400) + 5_000, code=[f"K{n}" for n in range(400)])

    assert () == find_leaks(
        X.sample(frac=1, random_state=0), np.random.default_rng(0).permutation(leavers())
    )


@pytest.mark.parametrize(
    ("leak", "kind"),
    [
        (lambda y: np.where(y > 0, "price", None), "too good to be true"),  # a reason to leave
        (lambda y: np.where(y > 0, 3.0, np.nan), "too good to be true"),  # filled in for leavers
        (lambda y: y > 0, "too good to be true"),  # the label itself, as a flag
        (lambda y: pd.to_datetime(np.where(y > 0, "2026-03-01", None)), "too good to be true"),
        (lambda y: pd.Series(y).map({1.0: "12", 0.0: "44"}), "too good to be true"),  # text numbers
        # half of the leavers were asked why: nobody else was
        (lambda y: (y * (np.arange(400) % 5 < 4)).astype(int), "too good to be true"),
    ],
)
def test_a_planted_column_is_found(leak, kind):
    y = leavers()
    X = noise().assign(planted=np.asarray(leak(y)))

    (found,) = find_leaks(X, y)

    assert ("planted", kind, "error") == (found.where, found.kind, found.severity)


def test_a_column_is_judged_the_same_in_any_order_of_rows():
    X, y = telco_ext()
    X, y = X[["Contract", "Churn Score", "CLTV"]], y.to_numpy()
    order = np.random.default_rng(1).permutation(len(X))

    straight, turned = find_leaks(X, y), find_leaks(X.iloc[order], y[order])

    assert [one.where for one in straight] == [one.where for one in turned]


def test_a_name_counts_less_than_numbers_and_more_with_them():
    y = leavers()
    rng = np.random.default_rng(0)
    strong = y * 1.8 + rng.normal(size=400)  # AUC about .9, at least .8 and not .9
    X = pd.DataFrame({"risk_score": strong, "cancellations": rng.normal(size=400)})

    found = {one.where: one for one in find_leaks(X, y, together=False)}

    assert "error" == found["risk_score"].severity
    assert "named after the outcome" == found["risk_score"].kind
    assert "warning" == found["cancellations"].severity
    assert () == find_leaks(X, y, by_name=False, together=False)


def test_a_model_that_leans_on_one_column_is_told():
    y = leavers(2000, 500)
    X = noise(2000).assign(odd=y * 1.8 + np.random.default_rng(0).normal(size=2000))

    (found,) = find_leaks(X, y)

    assert ("odd", "importance in one column", "warning") == (
        found.where,
        found.kind,
        found.severity,
    )
    assert 0.5 < found.evidence["gain_share"]
    assert found.evidence["auc_without"] < 0.6 < 0.8 < found.evidence["auc_with"]


def test_labels_that_contradict_each_other_are_told():
    X = pd.DataFrame({"plan": ["a"] * 200 + ["b"] * 200, "size": np.r_[np.arange(300), [1] * 100]})
    y = np.r_[np.zeros(300), np.ones(50), np.zeros(50)]

    found = {one.where: one for one in find_leaks(X, y, together=False)}

    assert 100 == found["the outcome"].count
    assert "labels contradict each other" == found["the outcome"].kind


def test_a_customer_seen_often_counts_once():
    y = np.repeat([1.0] * 8 + [0.0] * 300, 20)  # eight leavers, twenty rows each
    who = np.repeat(np.arange(308), 20)

    with pytest.raises(RetainError, match="8 who left and 300 who stayed; at least 10"):
        find_leaks(pd.DataFrame({"copy": y}), y, who=who)
    assert {"copy"} == named(find_leaks(pd.DataFrame({"copy": y}), y))


def test_what_is_allowed_becomes_advice():
    y = leavers()

    (found,) = find_leaks(pd.DataFrame({"copy": y}), y, allow=["copy"])

    assert "advice" == found.severity
    assert found.message.startswith("Allowed: ")


@pytest.mark.parametrize("allow", ["copy", ["copy"], ("features.copy", "the outcome")])
def test_one_name_or_several_may_be_allowed_as_a_report_prints_them(allow):
    y = leavers()

    (found,) = find_leaks(pd.DataFrame({"copy": y}), y, allow=allow)

    assert "advice" == found.severity


@pytest.mark.parametrize(
    ("allow", "hint"), [("copi", "did you mean copy"), ("zzz", "columns: copy")]
)
def test_an_allowed_name_of_no_column_is_refused_with_the_nearest(allow, hint):
    y = leavers()

    with pytest.raises(
        RetainError, match=f"allow names '{allow}', which is no column of X; {hint}"
    ):
        find_leaks(pd.DataFrame({"copy": y}), y, allow=[allow])


@pytest.mark.parametrize(
    ("y", "complaint"),
    [
        (["Yes"] * 4, "4 of 4 values of y are neither 0 nor 1"),
        ([0, 1, np.nan, 1], "1 of 4 values of y are neither"),
        ([0, 1], "X has 4 rows and y 2"),
    ],
)
def test_an_outcome_that_is_none_is_refused(y, complaint):
    with pytest.raises(RetainError, match=complaint):
        find_leaks(noise(4), y)


def test_the_values_that_tell_are_named_as_they_are():
    # those of 0 to 1, of 3 to 4 and those without a value stayed; in between they left
    use = np.r_[np.linspace(0, 1, 300), np.linspace(1.5, 2.5, 300), np.linspace(3, 4, 300)]
    use = np.r_[use, np.full(100, np.nan)]
    left = (use > 1.2) & (use < 2.8)

    (found,) = find_leaks(pd.DataFrame({"use": use}), left, together=False)

    assert re.search(r"rows with 1\.5\d* to 2\.\d+ left", found.message)
    (stayed,) = re.findall(r"rows with ([^;]*) stayed", found.message)
    ranges = [part for part in stayed.split(", ") if part != "no value"]
    assert "no value" in stayed
    assert 2 == len(ranges)
    for one in ranges:
        low, high = (float(end) for end in one.split(" to "))
        assert not ((use >= low) & (use <= high) & left).any()


def test_days_that_tell_are_named_as_days():
    days = pd.Series(pd.date_range("2026-01-01", periods=800))
    y = leavers(800, 200)[::-1]

    (found,) = find_leaks(pd.DataFrame({"last": days}), y, together=False)

    assert re.search(r"200 rows with 2027-08-24 to 2028-03-10 left", found.message)


def test_an_outcome_is_matched_by_its_index():
    y = pd.Series(leavers(), index=[f"c{n}" for n in range(400)])
    X = pd.DataFrame({"copy": y})

    assert {"copy"} == named(find_leaks(X, y.sample(frac=1, random_state=0)))
    who = pd.Series(np.arange(400) // 2, index=y.index).sample(frac=1, random_state=1)
    assert {"copy"} == named(find_leaks(X, y[::-1], who=who))


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        (range(1, 401), "1 of its labels are not in X \\(400\\)"),
        ([0, 0, *range(2, 400)], "more than once"),
    ],
)
def test_an_outcome_with_another_index_is_refused(index, complaint):
    y = pd.Series(leavers(), index=index)

    with pytest.raises(RetainError, match=f"the index of y is not that of X: .*{complaint}"):
        find_leaks(noise(), y)


def test_a_few_who_left_among_very_many_are_not_lost_in_drawing():
    y = leavers(100_000, 25)

    assert {"copy"} == named(find_leaks(pd.DataFrame({"copy": y}), y, together=False))


def test_columns_of_an_array_go_by_number():
    y = leavers()

    assert {"1"} == named(find_leaks(np.column_stack([noise(columns=1), y]), y))


@pytest.mark.parametrize(
    ("X", "y", "complaint"),
    [
        (np.zeros(400), leavers(), r"X is an array of shape \(400,\); expected a frame"),
        ([[1.0]] * 400, leavers(), "X is list; expected a frame"),
        (pd.DataFrame({"tags": [["a"]] * 400}), leavers(), r"'tags' holds a list \(\['a'\]\)"),
        (pd.DataFrame({"use": []}), [], "0 rows; at least 20 are needed"),
        (noise(19), leavers(19, 10), "19 rows; at least 20 are needed"),
        (noise(), np.zeros(400), "0 who left and 400 who stayed; at least 10"),
        (noise(), leavers(400, 391), "391 who left and 9 who stayed; at least 10"),
    ],
)
def test_what_cannot_be_judged_is_refused(X, y, complaint):
    with pytest.raises(RetainError, match=complaint):
        find_leaks(X, y)


# ---- a company ----------------------------------------------------------------------------------


@pytest.fixture
def company(tmp_path_factory, tmp_path, capsys):
    return branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path, capsys)


def in_time(branch):
    opened = open_company(branch.path)
    with opened.tables:
        return find_leaks_in_time(opened.tables, opened.churn.kind)


def gone(branch, share, seed=0):
    """Some of the leavers and the days on which their leaving became known."""
    spans = branch.table("subscriptions")
    spans = spans[~spans["is_trial"].astype("boolean").fillna(False).to_numpy(dtype=bool)]
    last = spans.sort_values("finish", na_position="last").groupby("acct_no").tail(1)
    last = last[last["finish"] <= pd.Timestamp(UNTIL)]
    day = last[["cancelled_at", "finish"]].min(axis=1).dt.normalize()
    keep = np.random.default_rng(seed).random(len(last)) < share
    return last["acct_no"][keep].to_numpy(), day[keep]


def visit_cancel_page(branch, name="plan_end", share=0.6):
    who, day = gone(branch, share)
    page = pd.DataFrame({"acct_no": who, "ts": (day - dt.timedelta(days=3)).to_numpy()})
    page = page.assign(module=name, n=1, secs=20.0, event_id=10**9 + np.arange(len(page)))
    page["loaded_at"] = page["ts"]
    branch.change("usage", lambda table: pd.concat([table, page], ignore_index=True))


def ask_leavers(branch, recorded_after=None, share=0.8):
    """Ask those who have left, and date the answer back to a fortnight before."""
    who, day = gone(branch, share, seed=1)
    told = pd.DataFrame({"customer_id": who, "kind": "NPS", "value": 2.0})
    told["sent_ts"] = told["answered_ts"] = (day - dt.timedelta(days=15)).to_numpy()
    late = told["answered_ts"] if recorded_after is None else (day + recorded_after).to_numpy()
    told["recorded_at"] = np.minimum(late, np.datetime64(UNTIL))
    branch.change("surveys", lambda table: pd.concat([table, told], ignore_index=True))


def test_an_honest_company_is_not_accused(company):
    found = in_time(company)

    assert set() == named(found)
    assert ["no known-at time"] == [one.kind for one in found]  # payments and subscriptions


def test_a_cancel_page_is_found_by_what_follows_it(company):
    visit_cancel_page(company)

    (found,) = (one for one in in_time(company) if one.severity == "error")

    assert ("usage.feature=plan_end", "part of leaving") == (found.where, found.kind)
    assert 1.0 == found.evidence["share_leaving_soon"]
    assert 0.15 > found.evidence["usual_share"]


def test_a_survey_dated_back_is_found_by_whom_it_reaches(company):
    ask_leavers(company)

    (found,) = (one for one in in_time(company) if one.severity == "error")

    assert ("surveys.kind=nps", "appears with leaving") == (found.where, found.kind)
    assert 0.75 < found.evidence["share_of_leavers"]
    assert 0.3 > found.evidence["share_of_others"]


def test_a_survey_recorded_after_leaving_is_invisible_and_only_told(company):
    ask_leavers(company, recorded_after=dt.timedelta(days=10))

    found = [one for one in in_time(company) if one.severity != "advice"]

    assert [("surveys", "written after the outcome", "warning")] == [
        (one.where, one.kind, one.severity) for one in found
    ]


def test_acts_of_the_company_are_found_by_name_and_by_reaching_many_at_once(company):
    table = company.table("usage")
    sent = table.head(300).assign(module="bulletin", event_id=10**9 + np.arange(300))
    sent["ts"] = pd.Timestamp("2026-05-04 09:30:00")
    sent["loaded_at"] = sent["ts"]
    mail = table.iloc[300:400].assign(module="email_sent", event_id=2 * 10**9 + np.arange(100))
    company.change("usage", lambda rows: pd.concat([rows, sent, mail], ignore_index=True))

    found = {one.where: one for one in in_time(company)}

    assert "made by the company" == found["usage.feature=bulletin"].kind
    assert 1.0 == found["usage.feature=bulletin"].evidence["share_at_once"]
    assert "by name" in found["usage.feature=email_sent"].message
    assert {"warning"} == {found[f"usage.feature={n}"].severity for n in ("bulletin", "email_sent")}


def test_answers_that_count_before_they_are_given_are_told(company):
    del company.settings["tables"]["surveys"]["columns"]["answered_at"]

    found = {(one.where, one.kind): one for one in in_time(company)}

    assert "warning" == found["surveys", "no known-at time"].severity


# ---- the flow -----------------------------------------------------------------------------------


def test_check_names_the_leaks_and_training_stops(company):
    visit_cancel_page(company)
    ask_leavers(company)

    checked = company.run("check")
    assert 1 == checked.code
    assert "plan_end" in checked.out
    assert "Leak check" in checked.out

    ran = company.run("train")
    assert 1 == ran.code
    assert "usage.feature=plan_end" in ran.err
    assert "leaks: {allow: [surveys.kind=nps, usage.feature=plan_end]}" in ran.err


def test_training_goes_on_when_told_so_and_keeps_the_evidence(company):
    import json

    visit_cancel_page(company)
    company.settings["leaks"] = {"allow": ["usage.feature=plan_end"]}

    assert 0 == company.run("check").code
    assert 0 == company.run("train").code

    folder = company.store / "models" / "demo-churn"
    about = json.loads(next(folder.glob("*.json")).read_text("utf-8"))
    assert "usage.feature=plan_end" in json.dumps(about)


def test_an_attribute_said_to_be_constant_that_tells_who_left_stops_the_training(company):
    company.settings["tables"]["customers"]["constant"].append("account_status")

    ran = company.run("train")

    assert 1 == ran.code
    assert "customers.account_status" in ran.err


OWN_FEATURE = '''
import numpy as np

from retain.features import feature


@feature(unit="weeks", signal="last bill", theme="profile")
def to_the_last_bill(history):
    """Weeks until the last bill."""
    return history.attribute("last_bill") - history.as_of_day / 7


@feature(unit="weeks", signal="last bill", theme="profile", over=(1, 2, 3, 4))
def to_the_last_bill_but(history, weeks):
    """Weeks until {weeks} before the last bill."""
    return to_the_last_bill.compute(history) - weeks


@feature(unit="weeks", signal="last bill", theme="profile")
def told_of_late(history):
    """Weeks until the last bill, written down since last spring only."""
    since = 20_562  # 2026-04-19: the newest snapshots alone would convict it
    return np.where(history.as_of_day > since, to_the_last_bill.compute(history), 0.0)


FEATURES = (to_the_last_bill, to_the_last_bill_but, told_of_late)
'''


def write_down_the_last_bill(branch):
    """Give customers the week of their leaving, and the company a feature made from it."""
    who, day = gone(branch, 1.0)
    weeks = pd.Series((day - pd.Timestamp("1970-01-01")).dt.days.to_numpy() / 7, index=who)

    def spoil(table):
        return table.assign(last_bill=table["acct_no"].map(weeks[~weeks.index.duplicated()]))

    branch.change("customers", spoil)
    branch.settings["tables"]["customers"]["attributes"].append("last_bill")
    branch.settings["tables"]["customers"]["constant"].append("last_bill")
    file = branch.folder / "own.py"
    file.write_text(OWN_FEATURE, encoding="utf-8")
    branch.settings["features"] = str(file)


def errors_of(branch):
    return {
        one.column if one.table == "features" else f"{one.table}.{one.column}"
        for one in check(branch.path).findings
        if one.severity == "error"
    }


def test_check_and_training_come_to_the_same_judgement_and_the_same_names_satisfy_both(company):
    write_down_the_last_bill(company)

    names = errors_of(company)
    assert {"to_the_last_bill", "customers.last_bill"} <= names
    assert 5 < len(names)
    ran = company.run("train")
    assert 1 == ran.code
    (listed,) = re.findall(r"leaks: \{allow: (\[.*\])\}", ran.err)
    assert names == set(yaml.safe_load(listed))

    company.settings["leaks"] = {"allow": yaml.safe_load(listed)}
    assert set() == errors_of(company)


def test_every_name_is_allowed_as_it_is_printed(company):
    write_down_the_last_bill(company)
    company.settings["leaks"] = {
        "allow": [
            *("features.to_the_last_bill", "customers.last_bill", "customers.lst_bill"),
            *(f"features.to_the_last_bill_but_{weeks}w" for weeks in (1, 2, 3, 4)),
        ]
    }

    # the attribute of that name is the column as it is
    assert set() == errors_of(company)
    told = [one.message for one in check(company.path).findings if one.table == "leaks.allow"]
    assert 1 == len(told)
    assert "'customers.lst_bill' is no column" in told[0]
    assert "did you mean customers.last_bill" in told[0]


def test_a_training_that_would_be_refused_is_told_beforehand(company):
    company.change("customers", lambda table: table.head(60))

    ran = company.run("check")

    assert 0 == ran.code
    assert "usable, but not to train on: churn: too few" in ran.out
    said = company.run("train").err
    assert check(company.path).refusal in said
