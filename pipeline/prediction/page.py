"""The web page of pipeline.app.

No data leaves the machine: the server listens on 127.0.0.1 only, and tells the browser to load nothing from other
servers.
"""

import html
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

from foundation.errors import UserError
from foundation.log import log
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.recordings import MEDIA, read_recording
from pipeline.prediction.results import trained_on, warning, write_results
from pipeline.prediction.run import transcript_of
from pipeline.prediction.transcripts import SUFFIXES, read_transcript

HOST = "127.0.0.1"
OUT = Path("predictions")
POLICY = ("default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' ws://127.0.0.1:*; "
          "frame-ancestors 'self'")  # fmt: skip
"""Content security policy: the browser may load from this server only (gradio's page also asks for other sources)."""


class Notes(logging.Handler):
    """Log handler that collects messages to be shown as progress."""

    def __init__(self, kept: "queue.Queue[str]") -> None:
        super().__init__()
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.put(record.getMessage())


def predict(predictor: Predictor, recogniser: str, recording: str | None, transcript: str | None) -> str:
    """Predict an uploaded recording and transcript, and return the name of the folder of the results in OUT.

    Raises:
        UserError: prediction is not possible.
    """
    if not recording and not transcript:
        raise UserError("nothing to predict: choose a recording, a transcript, or both")
    name = Path(recording or transcript or "").stem
    out = OUT / name
    out.mkdir(parents=True, exist_ok=True)
    media = None
    if recording:
        media = out / Path(recording).name  # in the report's folder, because the report may link to it
        shutil.copyfile(recording, media)
    if transcript:
        spoken, folder = read_transcript(Path(transcript)), Path(transcript).parent
    else:
        assert media
        spoken, folder = transcript_of(media, recogniser)
    one = read_recording(name, media, spoken, folder)
    (found,) = predictor.predict([one])
    write_results(one, found, predictor, out)
    return name


def _results(name: str) -> str:
    """The report in the folder `name` of OUT, and links to download it and the tables."""
    address = f"/reports/{quote(os.fsencode(name), safe='')}"
    links = " · ".join(
        f'<a href="{address}/{file}" download="{html.escape(name + Path(file).suffix)}">{words}</a>'
        for file, words in (("report.html", "report"), ("predictions.csv", "CSV"), ("predictions.json", "JSON"))
    )
    return (f'<p id="downloads">Download: {links}</p><iframe id="report" title="report" '
            f'src="{address}/report.html?{time.time():.0f}" style="width:100%;height:1400px;border:0"></iframe>'
            )  # fmt: skip


def page(predictor: Predictor, recogniser: str) -> gr.Blocks:
    """Make the page: two file inputs, a button, the progress, and the report."""

    def work(recording: str | None, transcript: str | None) -> Iterator[str]:
        told: queue.Queue[str] = queue.Queue()
        answer: list[str] = []

        def run() -> None:
            try:
                answer.append(_results(predict(predictor, recogniser, recording, transcript)))
            except UserError as error:
                answer.append(_box("error", "#b00020", str(error)))
            except Exception:
                log.exception("the page could not predict a recording")
                answer.append(_box("error", "#b00020", "an internal error, which is not your fault; the terminal "
                                   "that runs this page has the details"))  # fmt: skip

        notes = Notes(told)
        log.addHandler(notes)
        began, lines = time.monotonic(), ["reading the files"]
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            while not told.empty():
                lines.append(told.get())
            yield _box("progress", "#1f5fbf", f"{time.monotonic() - began:.0f} s: " + "\n".join(lines[-6:]))
        log.removeHandler(notes)
        yield answer[0]

    with gr.Blocks(title="Emotions of a conversation", analytics_enabled=False) as blocks:
        bundle = predictor.bundle
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


def server(predictor: Predictor, recogniser: str) -> FastAPI:
    """Make the server of the page and, under /reports, of its output files."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def keep_at_home(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    OUT.mkdir(exist_ok=True)
    app.mount("/reports", StaticFiles(directory=OUT))
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return gr.mount_gradio_app(app, page(predictor, recogniser), path="/", theme=theme)


def serve(model: Path, port: int, text_encoder: str, recogniser: str) -> None:
    """Serve the page until it is interrupted."""
    app = server(Predictor(model, text_encoder=text_encoder), recogniser)
    log.info("open http://%s:%d in a browser; Ctrl-C ends it", HOST, port)
    uvicorn.run(app, host=HOST, port=port, log_level="warning")
