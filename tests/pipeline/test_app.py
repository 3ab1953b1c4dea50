"""The page of `make app`, used once from upload to report in a real browser."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_clip
from tests.pipeline.browser import opened

pytest.importorskip("gradio")
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def address(trained: Path, tmp_path: Path) -> Iterator[str]:
    """A running page with a small model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.app", "--model", str(trained / "models/demo"), "--port", str(port),
               "--risk", "1"]  # fmt: skip
    places = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": places, "CMATH_WORKERS": "1"})
    found = f"http://127.0.0.1:{port}/"
    try:
        while True:
            assert server.poll() is None
            try:
                urllib.request.urlopen(found)
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        yield found
    finally:
        server.terminate()
        server.wait()


def test_a_recording_goes_from_upload_to_its_time_line_and_a_broken_one_to_words(address: str, tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk #2, 50 %.avi", 2.0)
    (tmp_path / "talk.csv").write_text("start,end,text,speaker\n0,1,Hi there.,Ann\n1,2,Go away!,Bob\n")
    (tmp_path / "broken.mp4").write_text("no film")
    with opened(address) as (page, asked):
        assert "a synthetic corpus" in page.locator("#warning").inner_text()
        assert "trained on demo (synthetic): neutral, " in page.locator("body").inner_text()
        page.locator("#recording input[type=file]").set_input_files(film)
        page.locator("#recording").get_by_text("talk").first.wait_for()
        page.locator("#transcript input[type=file]").set_input_files(tmp_path / "talk.csv")
        page.locator("#transcript").get_by_text("talk").first.wait_for()
        page.locator("#predict").click()
        page.locator("#progress").wait_for()
        report = page.frame_locator("#report")
        report.locator("#timeline .lane button").first.wait_for()
        assert report.locator("tbody tr").count() == 2
        assert "Go away!" in report.locator("tbody").inner_text()
        assert "at a risk of 100 %, nothing is marked as not sure" in report.locator(".notes").inner_text()
        saved = {}
        for number in range(3):
            with page.expect_download() as started:
                page.locator("#downloads a").nth(number).click()
            started.value.save_as(tmp_path / "saved")
            saved[started.value.suggested_filename] = (tmp_path / "saved").read_text("utf-8")
        assert list(saved) == [f"talk #2, 50 %.{kind}" for kind in ("html", "csv", "json")]
        assert saved["talk #2, 50 %.html"].startswith("<!doctype html>")
        assert [line["text"] for line in csv.DictReader(saved["talk #2, 50 %.csv"].splitlines())] == [
            "Hi there.",
            "Go away!",
        ]
        assert json.loads(saved["talk #2, 50 %.json"])["model"]["synthetic"] is True

        source = page.locator("#report").get_attribute("src")
        film_there = page.request.get(
            address.rstrip("/") + source.replace("report.html", "recording/talk%20%232%2C%2050%20%25.avi")
        )
        assert film_there.body() == film.read_bytes()  # to which the report of a large recording links

        page.reload()
        page.locator("#recording input[type=file]").set_input_files(tmp_path / "broken.mp4")
        page.locator("#recording").get_by_text("broken").first.wait_for()
        page.locator("#transcript input[type=file]").set_input_files(tmp_path / "talk.csv")
        page.locator("#transcript").get_by_text("talk").first.wait_for()
        page.locator("#predict").click()
        page.locator("#error").wait_for()
        assert "broken.mp4: is no recording that can be read" in page.locator("#error").inner_text()
    elsewhere = [one for one in asked if not one.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
