"""The weekly page: what it says, that it adds up, and that nothing hostile leaves its place."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_week import AS_OF, HOSTILE, make_week

from retain.errors import RetainError
from retain.report import render_report, write_report
from retain.report.customers import FULL_DETAIL, read_customers
from retain.report.page import STATIC_ROWS
from retain.report.wording import money_short, odds


class Reader(HTMLParser):
    """Reads the page as a browser without scripts would: texts by element, ids, addresses."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.ids, self.addresses, self.text, self.tags, self._open = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self._open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [
            found[name] for name in ("href", "src", "action", "srcset") if name in found
        ]

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.text.append(data)


@pytest.fixture(scope="module")
def week():
    return make_week()


@pytest.fixture(scope="module")
def page(week):
    return render_report(**week)


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def data_of(page):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL)[1])


def section_of(page, customer_id):
    """The markup of one customer's row and section."""
    place = next(i for i, c in enumerate(data_of(page)["rows"]) if c[0] == customer_id)
    return re.search(rf'<tbody [^>]*data-i="{place}">(.*?)</tbody>', page, re.DOTALL)[1]


def points_of(text):
    return round(
        float(text.replace(" pts", "").replace("%", "").replace("−", "-").replace("+", "")) * 10
    )


def test_the_odds_that_are_said_are_those_of_the_percent_beside_them():
    assert [odds(74), odds(25), odds(88)] == ["about 1 in 14", "about 1 in 40", "about 1 in 11"]
    assert odds(9) == "less than 1 in 100"
    assert odds(991) == "more than 99 in 100"
    for per_mille in range(10, 991):
        some, of = re.fullmatch(r"about (\d+) in (\d+)", odds(per_mille)).groups()
        said = int(some) / int(of)
        assert abs(said - per_mille / 1000) <= 0.12 * per_mille / 1000, odds(per_mille)


def test_the_page_needs_no_outside_address(page, reader):
    assert re.findall(r"(?i)(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'<]*", page) == [
        "http://www.w3.org/2000/svg"
    ]
    assert all(address.startswith("#") for address in reader.addresses)
    assert "@import" not in page
    assert "url(" not in page


def test_the_pages_own_policy_allows_its_script_and_style_only(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]

    assert html.unescape(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_hostile_text_stays_text(page, reader):
    assert HOSTILE not in page
    assert html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;") in page
    assert sum(tag == "script" for tag, _ in reader.tags) == 2
    assert not [a for _, attrs in reader.tags for a in attrs if a.startswith("on")]
    assert "\u2028" not in re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL)[1]
    assert "\x00" not in page


def test_every_id_however_odd_has_a_place_and_a_link_to_it(page, reader):
    places = {i for i in reader.ids if i.startswith("customer-")}

    assert len(places) == STATIC_ROWS
    assert places == {a[1:] for a in reader.addresses if a.startswith("#customer-")}
    assert not [place for place in places if re.search(r"[\s<>\"'&]", place)]


def test_the_first_fifty_are_there_without_scripts_and_the_rest_as_data(page, reader):
    assert sum(tag == "tbody" and "data-i" in attrs for tag, attrs in reader.tags) == STATIC_ROWS
    assert sum(attrs.get("class") == "dossier" for tag, attrs in reader.tags) == STATIC_ROWS
    assert len(data_of(page)["rows"]) == 54
    assert "Without scripts the first 50 customers are shown; 4 more" in "".join(reader.text)


def test_rows_come_by_value_at_risk_then_probability(week):
    ordered = read_customers(week["scores"], week["drivers"], week["weekly"], AS_OF)
    keys = [(-(c.at_risk or 0), -c.p) for c in ordered]

    assert [k[0] for k in keys] == sorted(k[0] for k in keys)


def test_shown_contributions_add_up_to_the_shown_probability(page):
    seen = 0
    for body in re.findall(r'<ol class="steps">(.*?)</ol>', page, re.DOTALL):
        sizes = re.findall(r'<span class="size">(.*?)</span>', body)
        *parts, total = [
            points_of(html.unescape(size)) for size in sizes if "<" not in html.unescape(size)
        ]

        assert total == sum(parts)
        seen += 1
    assert seen == STATIC_ROWS


def test_the_bars_stand_end_to_end_from_zero_to_the_probability(page):
    for body in re.findall(r'<ol class="steps">(.*?)</ol>', page, re.DOTALL):
        bars = [
            (kind.split()[-1], int(x), int(width))
            for kind, x, width in re.findall(
                r'class="step ([\w ]+)".*?class="bar" x="(\d+)" y="25" width="(\d+)"',
                body,
                re.DOTALL,
            )
        ]
        at = bars[0][1]
        for kind, x, width in bars[:-1]:
            edge = x + width if kind == "down" else x
            assert abs(at - edge) <= 4  # a sliver is drawn four units wide to be seen
            at = x if kind == "down" else x + width
        assert abs(at - (bars[-1][1] + bars[-1][2])) <= 4


def test_last_week_and_the_parts_of_the_change_add_up(page):
    seen = 0
    for body in re.findall(r'<p class="sum">(.*?)</p>', page, re.DOTALL):
        texts = [html.unescape(t) for t in re.findall(r"<b>(.*?)</b>", body)]
        if not any("<" in t or ">" in t for t in texts):
            *parts, now = map(points_of, texts)
            assert now == sum(parts)
            seen += 1
    assert seen > 30


def test_changes_and_sums_are_those_of_the_figures_before_any_rounding(week):
    """Rounded first, 4.24 % to 4.97 % makes +0.8 points, and 4.04 % to 5.02 % a rise by a point."""
    scores = week["scores"].copy()
    mine = scores.index[scores["eligible"].astype(bool)][:2]
    scores["previous_probability"] = scores["churn_probability"]
    scores.loc[mine, "previous_probability"] = [0.0424, 0.0404]
    scores.loc[mine, "churn_probability"] = [0.0497, 0.0504 - 0.0002]
    page = render_report(**{**week, "scores": scores})
    first, second = (section_of(page, who) for who in scores.loc[mine, "customer_id"])

    assert "0 customers rose by a point or more" in html.unescape(page)
    assert "+0.7 pts" in html.unescape(first)
    assert re.search(r"Rounding <b>\+0\.1 pts</b>", html.unescape(first))
    assert "+1.0 pts" in html.unescape(second)
    fields = data_of(page)["fields"]
    assert not any(row[fields.index("rose")] for row in data_of(page)["rows"])

    live = scores[scores["eligible"].astype(bool)]
    exact = (live["churn_probability"] * live["mrr"]).sum()
    assert f"EUR\xa0{exact:,.0f}" in html.unescape(page)


def test_a_sentence_of_two_signals_stands_once_beside_the_customer(week):
    scores, drivers = week["scores"], week["drivers"].copy()
    who = scores.loc[scores["eligible"].astype(bool), "customer_id"].iloc[0]
    mine = (drivers["customer_id"] == who) & (drivers["target"] == "churn")
    drivers.loc[mine, "contribution"] = [0.03 - 0.001 * n for n in range(mine.sum())]
    drivers.loc[mine, "stability"] = 0.9
    drivers.loc[mine, "sentence"] = ["Use fell"] * 2 + ["No NPS"] * (mine.sum() - 2)
    page = render_report(**{**week, "drivers": drivers})
    reasons = re.search(r'class="why-cell".*?</td>', section_of(page, who), re.DOTALL)[0]

    assert re.findall(r"<bdi>(.*?)</bdi>", reasons) == ["Use fell", "No NPS"]


def test_value_drivers_add_up_to_the_clv(page):
    seen = 0
    for body in re.findall(r'<ul class="sums">(.*?)</ul>', page, re.DOTALL):
        texts = [html.unescape(t) for t in re.findall(r"<b>(.*?)</b>", body)]
        *parts, total = [float(re.sub(r"[^\d.−]", "", t).replace("−", "-")) for t in texts]
        assert not parts or total == pytest.approx(sum(parts), abs=0.011)
        seen += bool(parts)
    assert seen > 30


def test_counts_of_customers_are_shown_and_add_up(reader):
    text = "".join(reader.text)

    assert "63 customers in = 54 eligible + 6 not eligible + 3 set aside" in text
    assert "Not eligible: notice given" in text


def test_a_page_of_very_many_lists_the_first_and_counts_them_all(week, page, monkeypatch):
    """Seen to fail when figures were added up over the listed customers."""
    monkeypatch.setattr("retain.report.customers.MOST_LISTED", 20)
    short = render_report(**week)

    assert len(data_of(short)["rows"]) == 20
    assert [row[0] for row in data_of(page)["rows"][:20]] == [r[0] for r in data_of(short)["rows"]]
    figures, headline = (re.compile(f"<{t}.*?</{t[:2]}>") for t in ('dl class="figures"', "h1"))
    for found in (figures, headline):
        assert found.search(short)[0] == found.search(page)[0]
    assert "The list holds the first 20 of 54 eligible customers" in short
    assert "first 50 customers are shown; 4 more are in scores.parquet" in short


def test_counts_that_do_not_add_up_are_refused(week):
    wrong = week["manifest"] | {"customers": week["manifest"]["customers"] | {"in": 99}}

    with pytest.raises(RetainError, match="do not add up: in 99; found eligible 54"):
        render_report(**(week | {"manifest": wrong}))


def test_the_page_says_its_one_sentence_and_its_notes(reader, week):
    text = "".join(reader.text)
    leavers = week["manifest"]["totals"]["expected_churners"]

    assert re.search(
        rf"{leavers:.0f} customers worth EUR\xa0\d+k a year are likely to leave within 13 weeks",
        text,
    )
    assert "Trained without payments: CLV is learnt from MRR." in text
    assert "1 late: surveys" in text
    assert "Association, not cause" in text
    assert "because" not in text.lower()


def test_the_sum_of_clv_says_whether_customers_who_cannot_leave_are_in_it(week):
    scores, manifest = week["scores"].copy(), week["manifest"]
    outside = ~scores["eligible"].astype(bool)
    scores["clv"] = pd.to_numeric(scores["clv"]).mask(outside, 50_000.0)
    live = scores.loc[~outside, "clv"].sum()

    def clv_of(total):
        said = {**manifest, "totals": {**manifest["totals"], "clv": float(total)}}
        text = html.unescape(render_report(**{**week, "scores": scores, "manifest": said}))
        return re.search(r"<dt>(CLV[^<]*)</dt><dd>([^<]*)</dd><dd[^>]*>([^<]*)</dd>", text).groups()

    assert clv_of(live)[:2] == ("CLV, eligible customers", f"EUR\xa0{live:,.0f}")
    label, amount, hint = clv_of(scores["clv"].sum())
    assert label == "CLV, with those not eligible"
    assert amount == f"EUR\xa0{scores['clv'].sum():,.0f}"
    assert hint.endswith(f"; {money_short(live, 'EUR')} of it eligible")


def test_an_unsteady_first_driver_is_not_named_as_the_reason(week):
    drivers = week["drivers"].assign(stability=0.39)
    shaky = Reader(render_report(**(week | {"drivers": drivers})))
    firm = Reader(render_report(**(week | {"drivers": drivers.assign(stability=0.4)})))

    assert "".join(shaky.text).count("No stable single reason: when the model") >= STATIC_ROWS
    assert "No stable single reason" not in "".join(firm.text)


def test_the_same_week_gives_the_same_bytes_in_any_row_order(week, page, tmp_path):
    turned = {name: frame.iloc[::-1] for name, frame in week.items() if name != "manifest"}
    path = write_report(tmp_path / "report.html", **turned, manifest=week["manifest"])

    assert page.encode() == path.read_bytes()


def test_a_company_with_one_table_gets_a_page_without_empty_columns(week):
    bare = week["scores"].drop(
        columns=[
            "segment",
            "plan",
            "owner",
            "mrr",
            "renews_at",
            "previous_probability",
            "health_score",
            "percentile",
        ]
    )
    bare = bare.assign(clv=np.nan, clv_low=np.nan, clv_high=np.nan, value_at_risk=np.nan)
    manifest = week["manifest"] | {
        "currency": None,
        "totals": {},
        "sources": {},
        "notes": [],
        "base_probability": None,
    }
    text = render_report(scores=bare, manifest=manifest)
    heads = re.findall(r'<th scope="col" class="(?!num)[^"]*"[^>]*>(.*?)</th>', text)

    assert [re.sub(r"<.*", "", h) for h in heads] == ["#", "Customer", "Leaves", "Associated with"]
    assert "Value at risk" not in text.split("<script")[0]
    assert "nan" not in re.sub(r"[\w-]*nan[\w-]+|[\w-]+nan", "", text.lower().split("<script>")[0])
    assert "customers by churn probability" in text.lower()


def test_nobody_eligible_is_said_and_not_an_error(week):
    nobody = week["scores"].assign(eligible=False, not_eligible_because="notice given")
    manifest = week["manifest"] | {
        "customers": {
            "in": 60,
            "eligible": 0,
            "not_eligible": {"notice given": 60},
            "set_aside": 0,
        },
        "totals": {},
    }

    assert "Nobody was eligible this week" in render_report(scores=nobody, manifest=manifest)


def test_two_thousand_customers_stay_below_three_megabytes():
    week = make_week(2_223, seed=1, hostile=False)
    page = render_report(**week)
    rows, names = data_of(page)["rows"], data_of(page)["fields"]
    drawn = [bool(row[names.index("weeks")]) for row in rows]

    assert len(rows) > 2_000
    assert len(page.encode()) < 3_000_000
    assert all(drawn[:FULL_DETAIL])
    assert not any(drawn[FULL_DETAIL:])


@pytest.mark.parametrize(
    "pair",
    [
        "faint/sheet",
        "faint/paper",
        "faint/sunk",
        "faint/accent-wash",
        "soft/sunk",
        "ink/paper",
        "accent/sunk",
        "up/sunk",
        "up/up-wash",
        "down/sunk",
        "warn/warn-wash",
    ],
)
def test_text_has_the_contrast_of_wcag_aa_in_light_and_dark(page, pair):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    themes = re.findall(r"color-scheme: \w+;(.*?)\}", page, re.DOTALL)[:3]
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        high, low = sorted([light(colours[side]) for side in pair.split("/")], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


needs_browser = pytest.mark.skipif(not BROWSER, reason="no chromium to run the page's script in")


def browse(page, script, folder, early=""):
    """What the page's text is after its own script and then `script` have run."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page)
    data = '<script type="application/json"'
    text = text.replace(data, f"<script>{early}</script>{data}", 1)
    path = folder / "probe.html"
    path.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --virtual-time-budget=5000"
    )
    told = subprocess.run(
        [
            *(str(BROWSER), *flags.split(" ")),
            *(f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    ).stdout
    return html.unescape(told.split("<body>")[-1].split("</body>")[0]).strip()


@pytest.mark.slow
@needs_browser
def test_the_script_builds_the_same_markup_as_the_template(page, tmp_path):
    early = """const STATIC = [...document.querySelectorAll('tbody.customer')]
      .map((b) => b.outerHTML);"""
    script = """
    const flat = (t) => t.replace(/\\s+/g, " ").replace(/> /g, ">").replace(/ </g, "<");
    const differ = [];
    STATIC.map(flat).forEach((text, i) => {
      const built = flat(window.retainPage.build(i).outerHTML);
      let at = 0;
      while (at < text.length && built[at] === text[at]) at++;
      const near = (t) => t.slice(at - 60, at + 90);
      if (built !== text) differ.push(i + ": " + near(built) + " <> " + near(text));
    });
    document.body.textContent = STATIC.length + " compared; " + JSON.stringify(differ);"""

    assert browse(page, script, tmp_path, early) == "50 compared; []"


@pytest.mark.slow
@needs_browser
def test_searching_sorting_and_opening_work(page, tmp_path):
    script = """
    const told = [], form = document.querySelector("form.tools");
    const count = () => document.querySelector("output.count").textContent;
    const tell = (node) => node.dispatchEvent(new Event("input", { bubbles: true }));
    told.push(count());
    document.querySelector('[data-do="all"]').click();
    told.push(count());
    form.elements.find.value = "payments FAILED";
    tell(form.elements.find);
    const texts = [...document.querySelectorAll("tbody.customer")].map((b) => b.dataset.i);
    told.push(texts.length < 54 && texts.every((i) => JSON.stringify(
      window.retainPage.customers[i].drivers).includes("payments failed")));
    form.elements.find.value = "no such thing";
    tell(form.elements.find);
    told.push(count(), document.querySelector(".empty").hidden);
    form.elements.find.value = "";
    tell(form.elements.find);
    const head = document.querySelector('th[data-sort="p"]');
    head.querySelector("button").click();
    const rows = [...document.querySelectorAll("tbody.customer")].map((b) =>
      window.retainPage.customers[b.dataset.i].p);
    told.push(head.getAttribute("aria-sort"), rows.every((p, i) => !i || p <= rows[i - 1]));
    const last = window.retainPage.customers[53];
    location.hash = "#customer-" + last.slug;
    window.dispatchEvent(new Event("hashchange"));
    const body = document.querySelector('tbody[data-i="53"]');
    told.push(body.querySelector("a.open").getAttribute("aria-expanded"),
      body.querySelectorAll(".step").length > 2);
    document.body.textContent = JSON.stringify(told);"""

    assert json.loads(browse(page, script, tmp_path)) == [
        "Showing 50 of 54 customers",
        "Showing 54 of 54 customers",
        True,
        "Showing 0 of 0 that match (54 in all)",
        False,
        "descending",
        True,
        "true",
        True,
    ]
