"""The explorer in a real JupyterLab on this machine.

The live face is the one shown, and what it shows is right.
"""

import contextlib
import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
import sklearn.metrics as sk

ROOT = Path(__file__).parents[2]
MINUTE = 60_000
SEED = """
import json
import numpy as np
from ccb_lib import ThresholdExplorer
labels = np.arange(150) >= 90
scores = np.random.default_rng(3).normal(size=150) + 1.5 * labels
"""
CELLS = [
    SEED + "explorer = ThresholdExplorer(scores, labels, {'normal 95 %': 1.6, '<b>F1</b>': 0.7}, "
    "title='In the lab')\n"
    "explorer",
    "def note(change):\n    m = change['new']\n    with open('seen.jsonl', 'a') as file:\n"
    "        print(json.dumps([m.threshold, m.tp, m.fp, m.tn, m.fn, m.precision, m.prevalence]), "
    "file=file)\n"
    "explorer.observe(note, 'metrics')",
    "explorer.threshold = 0.123",
]


@pytest.fixture(scope="module")
def lab(require, tmp_path_factory):
    require(importlib.util.find_spec("jupyterlab"), "JupyterLab")
    home = tmp_path_factory.mktemp("lab")
    work = home / "work"
    work.mkdir()
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS]
    )
    notebook.metadata.kernelspec = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    nbformat.write(notebook, work / "explorer.ipynb")
    quiet = (
        home
        / "settings"
        / "@jupyterlab"
        / "apputils-extension"
        / "notification.jupyterlab-settings"
    )
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": token,
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
    ]
    command += [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={work}",
    ]
    with (home / "server.log").open("w") as log:
        # A session of its own, so that the kernel ends with the server.
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/api?token={token}", server, home / "server.log")
        yield f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?token={token}&reset", work
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


def _wait(url, server, log):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(url, timeout=5),
        ):
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer within two minutes:\n{log.read_text()}")


def expected(threshold):
    labels = np.arange(150) >= 90
    scores = np.random.default_rng(3).normal(size=150) + 1.5 * labels
    (tn, fp), (fn, tp) = sk.confusion_matrix(labels, scores > threshold).tolist()
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, scores > threshold, average="binary", zero_division=np.nan
    )
    rates = {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "accuracy": (tp + tn) / 150,
        "specificity": tn / 90,
    }
    shown = {
        name: "–" if np.isnan(value) else f"{value + 1e-12:.3f}" for name, value in rates.items()
    }
    return {"tp": str(tp), "fp": str(fp), "tn": str(tn), "fn": str(fn)} | shown


def figures(page, names):
    return {
        name: page.locator(f'.ccb-explorer [data-show="{name}"]').inner_text() for name in names
    }


def test_the_live_face_is_shown_and_driven_in_jupyterlab(lab, browser, keep_screenshot):
    url, work = lab
    seen = work / "seen.jsonl"
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    context.set_default_timeout(2 * MINUTE)
    outside = []
    context.route(
        re.compile(r"^(?!http://127\.0\.0\.1|ws://127\.0\.0\.1|data:|blob:)"),
        lambda route: (outside.append(route.request.url), route.abort()),
    )
    page = context.new_page()
    page.goto(url)
    page.locator(".jp-Notebook .cm-content").first.click()
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Python 3").wait_for()
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    for _ in CELLS[:2]:
        page.keyboard.press("Shift+Enter")

    explorer = page.locator(".ccb-explorer")
    explorer.locator('[data-show="tp"]').wait_for()
    assert explorer.count() == 1
    assert page.locator("figure.ccb-explorer").count() == 0, (
        "the page's face is shown where the live one should be"
    )
    assert figures(page, expected(1.6)) == expected(1.6)  # the first named threshold

    # the slider, by keyboard, a stop at a time; then by mouse
    page.get_by_text("[2]:").wait_for()
    handle = explorer.locator(".noUi-handle").first
    handle.focus()
    before = 1.6
    for key in ["ArrowRight"] * 3 + ["ArrowLeft"] * 5:
        page.keyboard.press(key)
        threshold = _next_seen(seen, before)
        assert (threshold > before) == (key == "ArrowRight")
        _agree(page, threshold)
        before = threshold
    track = explorer.locator(".noUi-target").first.bounding_box()
    page.mouse.click(track["x"] + 0.25 * track["width"], track["y"] + track["height"] / 2)
    threshold = _next_seen(seen, before)
    assert threshold < 1
    _agree(page, threshold)

    # a named threshold, whose name is text and no markup
    explorer.get_by_role("button", name="<b>F1</b>").click()
    assert _next_seen(seen, threshold) == 0.7
    _agree(page, 0.7)
    keep_screenshot(explorer, "light")

    # the number, exact between the stops
    number = explorer.get_by_label("Threshold").and_(explorer.locator("input[type=number]"))
    number.fill("0.4321")
    number.press("Enter")
    assert _next_seen(seen, 0.7) == 0.4321
    _agree(page, 0.4321)

    # prevalence: precision follows, the counts stay
    counts = figures(page, ("tp", "fp", "tn", "fn"))
    percent = explorer.get_by_label("in percent")
    percent.fill("2")
    percent.press("Enter")
    weights = np.where(np.arange(150) >= 90, 0.02 / 60, 0.98 / 90)
    scores = np.random.default_rng(3).normal(size=150) + 1.5 * (np.arange(150) >= 90)
    precision = sk.precision_score(np.arange(150) >= 90, scores > 0.4321, sample_weight=weights)
    explorer.locator('[data-show="precision"]').get_by_text(f"{precision:.3f}").wait_for()
    assert figures(page, ("tp", "fp", "tn", "fn")) == counts
    assert json.loads(seen.read_text().splitlines()[-1])[-1] == 0.02
    explorer.get_by_role("button", name="as in this test set").click()
    _agree(page, 0.4321)

    # set from Python
    page.locator(".jp-Notebook .cm-content").nth(2).click()
    page.keyboard.press("Shift+Enter")
    assert _next_seen(seen, 0.4321) == 0.123
    _agree(page, 0.123)

    # in Lab's dark theme
    light = explorer.evaluate("element => getComputedStyle(element).backgroundColor")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert explorer.evaluate("element => getComputedStyle(element).backgroundColor") != light
    keep_screenshot(explorer, "dark")
    assert not outside
    context.close()


def _next_seen(seen, before):
    """Wait until Python observed metrics at another threshold; return φ.

    Check them against scikit-learn.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lines = seen.read_text().splitlines() if seen.exists() else []
        if lines and json.loads(lines[-1])[0] != before:
            threshold, tp, fp, tn, fn, *_ = json.loads(lines[-1])
            counts = {"tp": str(tp), "fp": str(fp), "tn": str(tn), "fn": str(fn)}
            assert counts == {name: expected(threshold)[name] for name in counts}
            return threshold
        time.sleep(0.05)
    raise AssertionError(f"the threshold stayed at {before}")


def _agree(page, threshold):
    """Wait until the page shows the figures of a threshold.

    Then hold every one of them against scikit-learn.
    """
    wanted = expected(threshold)
    end = time.monotonic() + 30
    while figures(page, wanted) != wanted and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert figures(page, wanted) == wanted
