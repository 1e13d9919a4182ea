"""optuna-dashboard and TensorBoard in a browser, through the tunnel that a reader is told to make."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from dashboard_bed import served
from results_bed import make
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from hpcsearch.workflow.layout import Layout

Tunnel = Callable[[Path], int]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    points = [{"lr": 0.1 * number, "units": number, "kind": "ab"[number % 2]} for number in range(1, 9)]
    outcomes = [{"objective": 0.125 * number} for number in range(8)]
    return make(tmp_path / "workflows", points, outcomes, ())


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=60):
            return True
    except OSError:  # ssh is not through yet
        return False


def test_optuna_dashboard_through_ssh(
    browser: WebDriver, until: WebDriverWait[WebDriver], tunnel: Tunnel, layout: Layout
) -> None:
    with served("dashboard", layout) as (_, path, _):
        port = tunnel(path)
        until.until(lambda _: answers(port))
        browser.get(f"http://localhost:{port}/dashboard/studies/0/trials")
        until.until(lambda _: "poly" in browser.find_element(By.TAG_NAME, "body").text)
        until.until(lambda _: "Trial 7" in browser.find_element(By.TAG_NAME, "body").text)
        browser.get(f"http://localhost:{port}/dashboard/studies/0")
        until.until(lambda _: "Hyperparameter Importance" in browser.find_element(By.TAG_NAME, "body").text)
        until.until(lambda _: browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot svg.main-svg"))


def test_tensorboard_through_ssh(
    browser: WebDriver, until: WebDriverWait[WebDriver], tunnel: Tunnel, layout: Layout
) -> None:
    with served("tensorboard", layout) as (_, path, _):
        port = tunnel(path)
        until.until(lambda _: answers(port))
        browser.get(f"http://localhost:{port}/#hparams")

        def shown(_: WebDriver) -> bool:
            found: str = browser.execute_script(_TEXT_WITH_SHADOWS)
            return "HPARAMS" in found.upper() and "units" in found and "0.875" in found

        until.until(shown)


#: TensorBoard's elements have roots of their own, which the text of the page leaves out.
_TEXT_WITH_SHADOWS = """
const text = node => node.nodeType === Node.TEXT_NODE ? node.textContent
  : node instanceof HTMLStyleElement ? ""
  : [...node.childNodes, ...(node.shadowRoot ? node.shadowRoot.childNodes : [])].map(text).join(" ");
return text(document.body);
"""
