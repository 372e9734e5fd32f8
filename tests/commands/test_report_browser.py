"""The page of `kdbench report` in a real browser, opened as a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.drawn import everything
from tests.analysis.made import full
from tests.commands.test_report import hostile, report

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
OPEN = ("file:", "data:", "blob:")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"),
]
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    full(folder / "results", seeds=(0, 1))
    report(folder)
    return folder / "page.html"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    everything(folder / "results")
    report(folder)
    return folder / "page.html"


class Visit:
    """A page in a browser, and what it complained about or asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: asked.url.startswith(OPEN) or self.complaints.append(asked.url))
        self.page.goto(file.as_uri())

    def column(self, number: int) -> list[str]:
        """What stands in a column of the table, the teacher's row first."""
        found: list[str] = self.page.locator("table.board tbody tr").evaluate_all(
            "(rows, n) => rows.map((row) => row.cells[n].textContent.trim())", number
        )
        return found

    def shown(self) -> list[str]:
        """The runs that pass the filters."""
        found: list[str] = self.page.locator("details.run:not([hidden])").evaluate_all("all => all.map((x) => x.id)")
        return found

    def drawn(self) -> int:
        """How many plots there are, without any scrolling; each figure has some."""
        for figure in self.page.locator("figure[data-chart]").all():
            assert figure.locator(".plot .drawing").count() > 0
        return int(self.page.locator(".plot .drawing").count())

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture
def visit(browser: Any, scores: Path) -> Iterator[Visit]:
    found = Visit(browser, scores)
    yield found
    assert found.complaints == []
    found.context.close()


def test_columns_sort(visit: Visit) -> None:
    head = visit.page.locator("table.board thead th").nth(2)
    before = visit.column(0)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    numbers = [float(text.partition("±")[0].rstrip("°‡")) for text in visit.column(2)[1:]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 3
    assert visit.column(0)[0] == "Teacher"
    assert visit.column(0) != before
    head.locator("button").press("Enter")
    assert [float(text.partition("±")[0].rstrip("°‡")) for text in visit.column(2)[1:]] == numbers[::-1]
    head.locator("button").click()
    assert visit.column(0) == before


def test_runs_are_filtered(visit: Visit) -> None:
    every = visit.shown()
    visit.page.select_option("select[name=task]", "RTE")
    visit.page.select_option("select[name=seed]", "1")
    assert len(visit.shown()) == 7  # five rows, two grid points of LGTM, a teacher
    visit.page.fill("input[name=text]", "--set student_lr=3e-05")
    assert all("-lgtm-" in run for run in visit.shown())
    assert visit.page.text_content("#count") == f"1 of {len(every)} runs"
    visit.page.fill("input[name=text]", "nothing like it")
    assert visit.shown() == []
    assert visit.page.is_visible("#none")
    visit.page.click("#filters button[type=reset]")
    visit.page.locator("#none").wait_for(state="hidden")
    assert visit.shown() == every


def test_a_cell_leads_to_its_runs(visit: Visit) -> None:
    visit.page.select_option("select[name=task]", "RTE")  # hides the run that is followed
    cell = visit.page.locator("table.board tbody tr", has_text="KD").nth(0).locator("td a").nth(0)
    cell.focus()
    cell.press("Enter")
    card = visit.page.locator(".card:target")
    assert card.get_attribute("aria-label") == "KD on MRPC"
    assert card.is_visible()
    assert visit.page.locator(".card:visible").count() == 1
    link = card.locator("a.id").first
    name = link.text_content()
    link.click()
    run = visit.page.locator(f"#run-{name}")
    sync_api.expect(run).to_have_attribute("open", "")
    assert run.is_visible()
    assert "--methods kd --tasks mrpc --seeds 0" in run.locator(".command").first.text_content()
    teacher = run.locator(".links a.id").first
    parent = teacher.text_content()
    teacher.click()
    sync_api.expect(visit.page.locator(f"#run-{parent}")).to_have_attribute("open", "")


def test_the_scheme_is_toggled_and_remembered(browser: Any, scores: Path) -> None:
    visit = Visit(browser, scores, scheme="dark")

    def background() -> str:
        return str(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    mark = visit.page.locator("#spread-0 .series").first  # the teacher's
    shown = "node => getComputedStyle(node).color"
    before = mark.evaluate(shown)
    visit.page.click("#scheme")
    light = background()
    assert light != dark
    assert (before, mark.evaluate(shown)) == ("rgb(230, 230, 230)", "rgb(0, 0, 0)")
    visit.page.reload()
    assert background() == light
    assert visit.page.get_attribute("#scheme", "aria-label") == "Switch to the dark scheme"
    assert visit.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_all_is_drawn_and_nothing_is_wider_than_the_page(browser: Any, series: Path, width: int) -> None:
    visit = Visit(browser, series, width)
    # scores: curves and cost; figures 2 (three panels), 3 (four), 4, 5, 6
    assert visit.drawn() >= 10
    assert visit.overflow() <= 0
    for run in visit.page.locator("details.run").all()[:3]:
        run.locator("summary").click()
    visit.page.locator("table.board td a").first.click()
    assert visit.overflow() <= 0
    assert visit.complaints == []


def test_charts_follow_their_choices_and_legend(browser: Any, series: Path) -> None:
    visit = Visit(browser, series)
    figure = visit.page.locator("figure[data-chart=paper-0-figure2]")
    lines = figure.locator(".plot").first.locator(".series .line")
    assert lines.count() == 2
    button = figure.locator(".legend button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert lines.count() == 1
    figure.locator(".legend button").nth(1).dblclick()
    assert [b.get_attribute("aria-pressed") for b in figure.locator(".legend button").all()] == ["false", "true"]
    notes = figure.locator(".more")
    notes.locator("summary").click()
    assert "MNLI" in notes.locator("li").first.text_content()
    assert visit.complaints == []


def test_hostile_text_stays_text(browser: Any, tmp_path: Path) -> None:
    hostile(tmp_path / "results")
    report(tmp_path)
    visit = Visit(browser, tmp_path / "page.html", 390)
    visit.drawn()
    visit.page.locator("table.board td a").first.click()
    assert visit.page.locator("img").count() == 0
    assert visit.page.title() != "taken"
    assert visit.overflow() <= 0
    assert visit.complaints == []


def test_points_have_labels_that_do_not_touch(browser: Any, scores: Path) -> None:
    for width in (1280, 390):
        visit = Visit(browser, scores, width)
        boxes = visit.page.locator("#cost-0 .label text").evaluate_all(
            "all => all.map((x) => { const r = x.getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom]; })"
        )
        texts = visit.page.locator("#cost-0 .label text").all_text_contents()
        assert texts == ["Fine-tuning", "KD", "DML", "LGTM", "LGTM (released code)"]
        room = visit.page.locator("#cost-0 .drawing").evaluate("x => x.getBoundingClientRect().right")
        assert max(box[2] for box in boxes) <= room
        for i, (left, top, right, bottom) in enumerate(boxes):
            for x, y, r, b in boxes[:i]:
                assert min(right, r) - max(left, x) < 2 or min(bottom, b) - max(top, y) < 3


def test_a_point_says_what_it_is(browser: Any, scores: Path) -> None:
    visit = Visit(browser, scores)
    visit.page.locator("#spread-0 .point").first.hover()
    assert visit.page.locator("#spread-0 .tip").inner_text().startswith("Teacher\nseed 0: ")
    visit.page.mouse.move(2, 2)
    assert visit.page.locator("#spread-0 .tip").is_hidden()
    assert visit.complaints == []


def test_on_a_narrow_screen_the_sections_are_a_menu_and_tables_scroll_in_their_box(browser: Any, scores: Path) -> None:
    visit = Visit(browser, scores, 390)
    menu, link = visit.page.locator("#menu"), visit.page.locator("#sections a[href='#runs']")
    assert link.is_hidden()
    menu.click()
    assert menu.get_attribute("aria-expanded") == "true"
    visit.page.keyboard.press("Escape")
    assert link.is_hidden()
    menu.click()
    link.click()
    assert link.is_hidden()
    assert visit.page.evaluate("document.getElementById('runs').getBoundingClientRect().top") < 450
    box = visit.page.locator(".wide").first
    assert box.evaluate("x => x.scrollWidth > x.clientWidth && x.clientWidth <= innerWidth")
    box.evaluate("x => x.scrollTo(999, 0)")
    first = visit.page.locator("table.board tbody th").first
    assert first.evaluate("x => x.getBoundingClientRect().left") >= 0  # the names stay in sight
    assert visit.overflow() <= 0
    assert Visit(browser, scores, 1280).page.locator("#menu").is_hidden()


def test_all_is_there_in_print_and_in_a_picture_of_the_whole_page(browser: Any, series: Path) -> None:
    visit = Visit(browser, series)
    assert len(visit.page.screenshot(full_page=True)) > 50_000
    widths = "all => all.map((x) => x.viewBox.baseVal.width)"
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visit.page.emulate_media(media="print")
    drawings = visit.page.locator(".drawing")
    assert drawings.count() >= 10
    assert max(drawings.evaluate_all(widths)) == 680
    assert visit.page.locator(".choices select").first.is_visible()  # which task it is
    assert visit.page.locator(".top").is_hidden()
    visit.page.emulate_media(media="screen")
    visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert max(drawings.evaluate_all(widths)) > 680
    assert visit.complaints == []


def test_a_resized_window_draws_anew(browser: Any, series: Path) -> None:
    visit = Visit(browser, series)
    visit.page.set_viewport_size({"width": 390, "height": 900})
    wide = True
    for _ in range(200):  # the page's content policy forbids the waiting function of playwright
        visit.page.wait_for_timeout(50)
        wide = visit.page.evaluate("document.querySelector('.drawing').viewBox.baseVal.width") >= 390
        if not wide:
            break
    assert not wide
    assert visit.overflow() <= 0
    assert visit.complaints == []
