"""Local web page: upload a recording and its transcript, and see the report with the predictions.

    python -m pipeline.app                               # or `make app`

Needs requirements-app.txt. No data leaves the machine: the server listens on 127.0.0.1 only, answers this machine's own
browser only, and tells it to load nothing from other servers. Uploads and results are removed when the page ends; with
`--keep FOLDER`, results stay there.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

from foundation.errors import UserError
from pipeline.stage import command


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.app", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--model", default="starter", metavar="MODEL", help="a trained model, as for pipeline.predict "
                        "(default: starter, which comes with the project)")  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="of this machine (default: 7860)")
    for modality in ("text", "audio", "visual"):
        parser.add_argument(f"--{modality}-encoder", default="", metavar="FOLDER", help="as for pipeline.predict")
    parser.add_argument("--risk", type=float, metavar="SHARE", help="as for pipeline.predict")
    parser.add_argument("--recogniser", default="", metavar="NAME", help="as for pipeline.predict")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep each report, with its recording, in a folder "
                        "there (default: all is removed when the page ends)")  # fmt: skip
    parser.add_argument("--largest", type=megabytes, default=1000, metavar="MB", help="size of the largest upload "
                        "(default: 1000)")  # fmt: skip
    return parser


def megabytes(written: str) -> int:
    """Understand the value of --largest."""
    if not written.isdecimal() or not int(written):
        raise argparse.ArgumentTypeError(f"{written!r}: must be a whole number of megabytes, 1 or more")
    return int(written)


def main() -> None:
    given = arguments().parse_args()

    def work() -> None:
        if find_spec("gradio") is None:
            raise UserError("gradio is not installed: `make app`, or `pip install -r requirements-app.txt`")
        # Imported here, because worker processes import this module too, and need neither gradio nor torch.
        from pipeline.prediction.page_folder import page_folder

        with page_folder() as folder:  # before gradio is imported, which else writes elsewhere
            from pipeline.prediction.page import serve

            encoders = (given.text_encoder, given.audio_encoder, given.visual_encoder)
            serve(folder, given.model, given.port, encoders, given.risk, given.recogniser, given.keep,
                  given.largest * 10**6)  # fmt: skip

    command(work)


if __name__ == "__main__":
    main()
