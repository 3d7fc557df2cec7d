"""The review page in a real browser: from signing in to the scoreboard, with mouse and keys.

`retain review` is a process of its own, over each kind of database; a browser does everything.
"""

from __future__ import annotations

import csv
import os
import shutil

import httpx2
import pytest
from alert_sinks import nobody_listens
from postgres import fresh_database
from real_process import commands, until
from review_company import PASSWORD, add_people, configured, write_files, written_week

from retain.actions import open_store

pytestmark = pytest.mark.slow

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run", "--disable-quic"),
)
SIZES = {"wide": (1440, 900), "phone": (390, 844)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request, tmp_path_factory):
    """The address of a company's page on this machine, where people sign in."""
    folder = tmp_path_factory.mktemp("browsed")
    address = f"sqlite:///{folder / 'actions.db'}"
    if request.param == "postgresql":
        address = fresh_database(request.getfixturevalue("postgres"), "browsed")
    path, port = str(configured(folder, address)), nobody_listens()
    write_files(folder, written_week())
    with commands(str(folder / "errors")) as retain:
        retain.start("queue", path)
        assert 0 == retain.ended()
        with open_store(address) as store:
            add_people(store)
        retain.start("review", path, "--port", str(port))
        until(lambda: is_there(port))
        yield f"http://127.0.0.1:{port}"
        retain.kill()


def is_there(port):
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/sign-in", timeout=5).is_success
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("no chromium to open the page in")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def page(browser, served, complaints):
    context = browser.new_context(base_url=served, viewport=dict_of(SIZES["wide"]))
    opened = context.new_page()
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("pageerror", lambda fault: complaints.append(str(fault)))
    yield opened
    context.close()


def dict_of(size):
    return {"width": size[0], "height": size[1]}


def sign_in(page, name="Lena"):
    page.goto("/")
    # a person is slower than the browser, which complains when it finds the focus taken
    page.wait_for_function("document.activeElement.name === 'name'")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


def test_a_lead_signs_in_finds_a_customer_reads_judges_and_sees_it_counted(
    page, complaints, tmp_path
):
    sign_in(page)
    assert "customers to reach this week" in page.get_by_role("heading", level=1).inner_text()

    page.get_by_role("searchbox", name="Find a customer").fill("c-00032")
    page.keyboard.press("Enter")
    page.wait_for_url("**/customers/C-00032")
    assert "Why this probability" in page.content()
    reason = page.locator("[data-driver]").first
    sentence = reason.locator(".say bdi").first.inner_text()

    reason.get_by_label("Comment").fill("they told me so <b>themselves</b>")
    reason.get_by_role("button", name="Right").click()
    assert "Your verdict is kept." in page.get_by_role("status").inner_text()
    pressed = page.locator("[data-driver]").first.get_by_role("button", name="Right")
    assert "true" == pressed.get_attribute("aria-pressed")

    page.locator("#judgement").get_by_role("radio", name="watch").first.check()
    page.locator("#judgement").get_by_label("Comment").fill("new sponsor")
    page.get_by_role("button", name="Keep").click()
    assert "Your judgement is kept." in page.get_by_role("status").inner_text()

    page.get_by_role("link", name="Scoreboard").click()
    assert "1" == page.locator(".figures dd").first.inner_text()
    newest = page.locator("#newest").inner_text()
    assert sentence in newest
    assert "they told me so <b>themselves</b>" in newest

    page.get_by_role("link", name="Customers").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    saved = tmp_path / "customers.csv"
    waiting.value.save_as(saved)
    rows = list(csv.DictReader(saved.open(encoding="utf-8-sig")))
    assert 40 == len(rows)
    assert "watch" == next(r["lead_risk"] for r in rows if r["customer_id"] == "C-00032")
    assert [] == complaints


def test_everything_is_reached_by_keys_alone(page, complaints):
    sign_in(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert 1 == page.locator(".row.at").count()
    page.keyboard.press("Enter")
    page.wait_for_url("**/customers/*")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.hasAttribute('data-driver')")
    page.keyboard.press("2")
    page.wait_for_selector("[role=status]")
    assert 1 == page.locator("[data-driver] .wrong[aria-pressed=true]").count()

    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/scoreboard")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert "seek" == page.evaluate("document.activeElement.id")
    assert [] == complaints


def test_of_two_browsers_the_late_one_keeps_its_text_and_sees_the_others(browser, served):
    pages = []
    for name in ("Lena", "Ada"):
        context = browser.new_context(base_url=served)
        opened = context.new_page()
        sign_in(opened, name)
        opened.goto("/customers/C-00012")
        pages.append(opened)
    first, late = pages
    first.locator("#judgement").get_by_label("Comment").fill("Lena was first")
    first.get_by_role("button", name="Keep").click()
    first.wait_for_selector("[role=status]")
    late.locator("#judgement").get_by_label("Comment").fill("Ada was writing")
    late.get_by_role("button", name="Keep").click()

    shown = late.get_by_role("alert").inner_text()
    assert "Lena wrote this while you were writing." in shown
    assert "Lena was first" in shown
    assert "Ada was writing" == late.locator("#judgement").get_by_label("Comment").input_value()
    late.get_by_role("button", name="Keep").click()
    late.wait_for_selector("[role=status]")
    late.locator("#trail summary").click()
    assert "Lena was first" in late.locator("#trail").inner_text()  # kept in the trail
    for opened in pages:
        opened.context.close()


@pytest.mark.parametrize(
    ("size", "scheme", "language"),
    [
        *(("wide", "light", "en"), ("phone", "dark", "en")),
        *(("wide", "dark", "ar"), ("phone", "light", "ar")),
    ],
)
def test_no_page_is_wider_than_its_screen_nor_says_anything_to_the_console(
    browser, served, size, scheme, language, tmp_path
):
    context = browser.new_context(
        base_url=served,
        viewport=dict_of(SIZES[size]),
        color_scheme=scheme,
        locale=language,
        extra_http_headers={"Accept-Language": language},
    )
    page, said = context.new_page(), []
    page.on("console", lambda one: said.append(one.text))
    page.on("pageerror", lambda one: said.append(str(one)))
    page.goto("/sign-in")
    page.locator("input[name=name]").fill("Ada")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main button").click()
    page.wait_for_url("**/")
    folder = os.environ.get("SCREENSHOTS")
    for path in (
        *("/", "/customers", "/customers/C-00032", "/portfolio", "/misses", "/scoreboard"),
        *("/pain", "/metrics", "/people"),
    ):
        page.goto(path)
        assert {"en": "ltr", "ar": "rtl"}[language] == page.evaluate("document.dir")
        widest = page.evaluate("document.documentElement.scrollWidth")
        assert widest <= SIZES[size][0], path
        unnamed = page.evaluate(UNNAMED)
        assert [] == unnamed, path
        if folder:
            name = path.strip("/").replace("/", "-") or "queue"
            page.screenshot(path=f"{folder}/{name}-{size}-{scheme}-{language}.png", full_page=True)
    assert [] == said
    context.close()


# what somebody who cannot see the page would not be told about
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a,'
 + ' [role=img], nav, form[role]')].filter((e) => {
  const own = e.getAttribute('aria-label') || e.textContent.trim() || e.title;
  const labels = e.labels && [...e.labels].some((l) => l.textContent.trim());
  return !own && !labels;
}).map((e) => e.outerHTML.slice(0, 120))"""
