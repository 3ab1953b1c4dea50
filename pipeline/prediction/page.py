"""The web page of pipeline.app.

No data leaves the machine: the server listens on 127.0.0.1 only, answers this machine's own browser only (guard.py),
and tells it to load nothing from other servers. Uploads and results go when the page ends (page_folder.py).
"""

import html
import logging
import os
import queue
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from foundation.errors import UserError
from foundation.files import resolved
from foundation.log import log
from foundation.safe_names import distinct, safe_name
from pipeline.prediction.guard import App, Guard
from pipeline.prediction.page_folder import UPLOADS
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.recordings import MEDIA, read_recording
from pipeline.prediction.results import trained_on, warning, write_results
from pipeline.prediction.run import transcript_of
from pipeline.prediction.transcripts import SUFFIXES, Transcript, read_transcript

HOST = "127.0.0.1"
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "media-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Content security policy of the files of a report, which needs nothing but itself and its recording."""
PATIENCE = 1
"""Seconds for which the end of the page waits for answers that are being sent."""


@dataclass(slots=True)
class Reports:
    """The reports of a running page, each under an address that cannot be guessed."""

    predictor: Predictor
    recogniser: str
    folder: Path
    """The page's own folder."""
    keep: Path | None
    """Folder for results that stay when the page ends; None: they go."""
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Files of each report by their names in its address, by its secret."""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def uploads(self) -> Path:
        return self.folder / UPLOADS

    def predict(self, recording: str | None, transcript: str | None) -> tuple[str, str]:
        """Predict an uploaded recording and transcript, and return the name and the secret of the report.

        Raises:
            UserError: prediction is not possible.
        """
        if not recording and not transcript:
            raise UserError("nothing to predict: choose a recording, a transcript, or both")
        for given in (recording, transcript):
            if given and not Path(given).resolve().is_relative_to(self.uploads):
                raise UserError("the page reads uploaded files alone")
        name, secret = safe_name(Path(recording or transcript or "").stem), secrets.token_urlsafe(32)
        out = self._new_folder(name, secret)
        try:
            self._write(name, out, recording, transcript)
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        self.files[secret] = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
        if self.keep:
            log.info("the results are kept in %s", out)
        return name, secret

    def _write(self, name: str, out: Path, recording: str | None, transcript: str | None) -> None:
        """Predict, and write the results into `out`."""
        media = None
        if recording:
            # In the report's folder, because the report may link to it; apart from the results, whatever it is called.
            media = out / "recording" / safe_name(Path(recording).name)
            media.parent.mkdir()
            shutil.copyfile(recording, media)
        if transcript:
            spoken, folder = read_transcript(Path(transcript)), Path(transcript).parent
            require_no_files(spoken, Path(transcript).name)
        else:
            assert media
            spoken, folder = transcript_of(media, self.recogniser)
        one = read_recording(name, media, spoken, folder)
        (found,) = self.predictor.predict([one])
        if self.ended.is_set():
            raise UserError("the page has ended")
        write_results(one, found, self.predictor, out)

    def _new_folder(self, name: str, secret: str) -> Path:
        if not self.keep:
            folder = self.folder / "results" / secret
            folder.mkdir(parents=True)
            return folder
        self.keep.mkdir(parents=True, exist_ok=True)
        *_, free = distinct([*(path.name for path in self.keep.iterdir()), name])
        (self.keep / free).mkdir()
        return self.keep / free

    def file(self, secret: str, name: str) -> Path:
        """Find a file of a report; raises HTTPException (404) for whatever is none."""
        found = self.files.get(secret, {}).get(name)
        if found is None:
            raise HTTPException(404)
        return found


def require_no_files(spoken: Transcript, name: str) -> None:
    """Refuse a transcript whose table names files: the page reads none of this machine but those that are uploaded."""
    for line in spoken.lines:
        if line.file or line.audio:
            raise UserError(f"{name}, {line.place}: names the file {line.file or line.audio!r}, and the page reads "
                            "uploaded files alone: remove the columns `file` and `audio` and upload the recording, or "
                            "use `python -m pipeline.predict`")  # fmt: skip


class Notes(logging.Handler):
    """Log handler that collects messages to be shown as progress."""

    def __init__(self, kept: "queue.Queue[str]") -> None:
        super().__init__()
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.put(record.getMessage())


def _results(name: str, secret: str) -> str:
    """A report, and links to download it and the tables."""
    address = f"/reports/{secret}"
    links = " · ".join(
        f'<a href="{address}/{file}" download="{html.escape(name + Path(file).suffix)}">{words}</a>'
        for file, words in (("report.html", "report"), ("predictions.csv", "CSV"), ("predictions.json", "JSON"))
    )
    return (f'<p id="downloads">Download: {links}</p><iframe id="report" title="report" '
            f'src="{address}/report.html" style="width:100%;height:1400px;border:0"></iframe>')  # fmt: skip


def page(reports: Reports) -> gr.Blocks:
    """Make the page: two file inputs, a button, the progress, and the report."""

    def work(recording: str | None, transcript: str | None) -> Iterator[str]:
        told: queue.Queue[str] = queue.Queue()
        answer: list[str] = []

        def run() -> None:
            try:
                answer.append(_results(*reports.predict(recording, transcript)))
            except UserError as error:
                answer.append(_box("error", "#b00020", str(error)))
            except Exception:
                log.exception("the page could not predict a recording")
                answer.append(_box("error", "#b00020", "an internal error, which is not your fault; the terminal "
                                   "that runs this page has the details"))  # fmt: skip

        notes = Notes(told)
        log.addHandler(notes)
        began, lines = time.monotonic(), ["reading the files"]
        thread = threading.Thread(target=run, daemon=True)  # the end of the page does not wait for it
        thread.start()
        while thread.is_alive() and not reports.ended.is_set():
            thread.join(0.5)
            while not told.empty():
                lines.append(told.get())
            yield _box("progress", "#1f5fbf", f"{time.monotonic() - began:.0f} s: " + "\n".join(lines[-6:]))
        log.removeHandler(notes)
        yield answer[0] if answer else _box("error", "#b00020", "the page has ended")

    with gr.Blocks(title="Emotions of a conversation", analytics_enabled=False) as blocks:
        bundle = reports.predictor.bundle
        labels = html.escape(", ".join(bundle.labels))
        gr.HTML(f"<h1>Emotions of a conversation</h1><p>Predicted by {bundle.model}, trained on "
                f"{html.escape(trained_on(bundle))}: {labels}. Nothing leaves this machine.</p>")  # fmt: skip
        if warning(bundle):
            gr.HTML(_box("warning", "#b00020", warning(bundle)))
        with gr.Row():
            recording = gr.File(label="Recording (video or sound)", file_types=list(MEDIA), elem_id="recording")
            transcript = gr.File(label="Transcript (subtitles, a table or text)", file_types=list(SUFFIXES),
                                 elem_id="transcript")  # fmt: skip
        button = gr.Button("Predict", variant="primary", elem_id="predict")
        report = gr.HTML(elem_id="answer")
        button.click(work, [recording, transcript], report, concurrency_limit=1, api_visibility="private")
    return blocks


def _box(name: str, colour: str, text: str) -> str:
    return (f'<div id="{name}" style="white-space:pre-wrap;border-left:4px solid {colour};padding:8px 12px">'
            f"{html.escape(text)}</div>")  # fmt: skip


def server(reports: Reports, port: int, largest: int) -> App:
    """Make the server of the page and, under /reports, of its output files."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/reports/{secret}/{name:path}")
    def report(secret: str, name: str) -> FileResponse:
        return FileResponse(reports.file(secret, name), headers={"Content-Security-Policy": REPORT_POLICY})

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    gr.mount_gradio_app(app, page(reports), path="/", theme=theme, max_file_size=largest, footer_links=[],
                        ssr_mode=False)  # fmt: skip
    return Guard(app, port, largest, reports.uploads)


def serve(
    folder: Path,
    model: str,
    port: int,
    encoders: tuple[str, str, str],
    risk: float | None,
    recogniser: str,
    keep: Path | None,
    largest: int,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        folder: the page's own (page_folder.py).
        model: as for Predictor.
        encoders: folders of the encoders of text, audio and visual, or empty, as for Predictor; so is `risk`.
        keep: where results stay; None: they go with `folder`.
        largest: bytes of the largest upload.

    Raises:
        UserError: the port is in use, or the model cannot be used.
    """
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"--port {port}: cannot be opened ({error}); is a page open already? Give another port"
                            ) from None  # fmt: skip
        reports = Reports(Predictor(model, None, *encoders, risk), recogniser, folder, keep and resolved(keep))
        log.info("open http://%s:%d in a browser; Ctrl-C ends it, and removes uploads%s", HOST, port,
                 f"; results are kept in {keep}" if keep else " and results")  # fmt: skip
        # No proxy stands before the page, and it has no websockets.
        config = uvicorn.Config(server(reports, port, largest), log_level="warning", proxy_headers=False,
                                server_header=False, ws="none", timeout_graceful_shutdown=PATIENCE)  # fmt: skip
        try:
            uvicorn.Server(config).run(sockets=[door])
        except KeyboardInterrupt:
            log.info("the page has ended")
        finally:
            reports.ended.set()
