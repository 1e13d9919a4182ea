"""A headless Chromium, and a tunnel by ssh as a reader has one. Root on Debian installs both."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

INSTALL = Path(__file__).parents[1] / "cluster" / "install.sh"
LIMIT_S = 60.0

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1280,1000"),
)


def _installed(program: str, *packages: str) -> str:
    found = shutil.which(program)
    if found is None:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip(f"{program} is missing, and is installed only as root on Debian")
        subprocess.run([INSTALL, *packages], check=True)
        found = shutil.which(program)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One Chromium for all tests."""
    chromium = _installed("chromium", "chromium", "chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config"))}
    service = Service(_installed("chromedriver", "chromium-driver"), env=environment)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(LIMIT_S)
    driver.set_script_timeout(LIMIT_S)
    yield driver
    driver.quit()


@pytest.fixture
def until(browser: WebDriver) -> WebDriverWait[WebDriver]:
    """Waits for what comes true in the page."""
    return WebDriverWait(browser, LIMIT_S)


@pytest.fixture(scope="session")
def tunnel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], int]]:
    """``ssh -L`` to a socket on this machine: gives the port at the reader's end."""
    _installed("ssh", "openssh-client")
    server = _installed("/usr/sbin/sshd", "openssh-server")
    folder = tmp_path_factory.mktemp("ssh")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = _free_port()
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "PidFile": "none",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    processes = [subprocess.Popen([server, "-D", "-e", "-f", folder / "config"])]

    def through(path: Path) -> int:
        here = _free_port()
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ExitOnForwardFailure": "yes",
            "ConnectionAttempts": "30",
        }
        told = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = ["ssh", "-F", "none", "-N", "-p", str(port), "-i", str(folder / "user"), *told]
        processes.append(subprocess.Popen([*argv, "-L", f"{here}:{path}", "127.0.0.1"]))
        return here

    yield through
    for process in processes:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
