"""The report in a browser: every figure is there, hovering tells of a point, and the table sorts by a click."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from results_bed import BEGIN_AT, FAILURE, make
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import update

from hpcsearch.figures.page import page
from hpcsearch.figures.study import read_study
from hpcsearch.workflow import database, schema

COUNT = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report on sixty evaluations, as an address for the browser."""
    folder = tmp_path_factory.mktemp("report")
    draw = random.Random(0)
    points = [
        {"activation": draw.choice(["relu", "tanh"]), "lr": 10 ** draw.uniform(-5, -1), "units": draw.randint(8, 256)}
        for _ in range(COUNT)
    ]
    outcomes = [
        FAILURE if number == 7 else {"objective": 1 / (1 + abs(math.log10(float(str(point["lr"]))) + 3))}
        for number, point in enumerate(points)
    ]
    reports = [(number, step, {"loss": 1 / (number + step)}) for number in range(1, 20) for step in (1.0, 2.0, 3.0)]
    layout = make(folder, points, outcomes, reports)
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        times = {"started_at": BEGIN_AT, "ended_at": BEGIN_AT + 99.0}
        connection.execute(update(schema.allocation).values(state="ENDED", **times))
    engine.dispose()
    (folder / "report.html").write_text(page(read_study(layout)), encoding="utf-8")
    return (folder / "report.html").as_uri()


def texts(browser: WebDriver, selector: str) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def test_every_figure_is_drawn_and_nothing_is_asked_of_a_network(
    browser: WebDriver, until: WebDriverWait[WebDriver], address: str, tmp_path: Path
) -> None:
    browser.get_log("performance")
    browser.get(address)
    plots = browser.find_elements(By.CSS_SELECTOR, ".plot")
    identities = [plot.get_attribute("id") for plot in plots]
    assert identities == [
        *("objective", "parallel", "hp-0", "hp-1", "hp-2", "importance", "curve-0", "utilisation"),
    ]
    until.until(lambda _: all(plot.find_elements(By.CSS_SELECTOR, "svg.main-svg") for plot in plots))
    until.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#objective .point")) == COUNT - 1)
    until.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#parallel .parcoords .y-axis, #parallel .parcoords"))
    severe = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    assert severe == []
    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("file:", "data:", "blob:"))} == set()
    wide = browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert wide, "the page is wider than the window"


def test_hovering_tells_of_a_point(browser: WebDriver, until: WebDriverWait[WebDriver], address: str) -> None:
    browser.get(address)
    point = until.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#objective .point"))[20]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)

    def hovered(_: WebDriver) -> str:
        box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", point)
        x, y = int(box["x"] + box["width"] / 2), int(box["y"] + box["height"] / 2)
        actions = ActionChains(browser)
        actions.w3c_actions.pointer_action.move_to_location(x - 30, y - 30)
        actions.w3c_actions.pointer_action.move_to_location(x, y)
        actions.perform()
        return " ".join(texts(browser, "#objective .hoverlayer text"))

    label = until.until(lambda driver: (found := hovered(driver)) and "evaluation" in found and found)
    assert "activation=" in label and "lr=" in label and "units=" in label


def test_a_click_on_a_name_sorts_by_it_and_another_one_the_other_way(
    browser: WebDriver, until: WebDriverWait[WebDriver], address: str
) -> None:
    browser.get(address)
    names = texts(browser, "#best thead th")
    assert names == ["Id", "Objective", "activation", "lr", "units", "Duration (s)"]
    place = names.index("units")

    def units() -> list[int]:
        return [int(cell) for cell in texts(browser, f"#best tbody td:nth-child({place + 1})")]

    before = units()
    assert len(before) == 50 and before != sorted(before)
    button = browser.find_elements(By.CSS_SELECTOR, "#best thead button")[place]
    browser.execute_script("arguments[0].click()", button)
    assert units() == sorted(before)
    browser.execute_script("arguments[0].click()", button)
    assert units() == sorted(before, reverse=True)
    assert texts(browser, "#failures tbody td") == ["1", "FAILED", "ValueError", "it diverged", "8"]
