"""Predict the emotions in your own recording with a trained model.

    python -m pipeline.predict VIDEO --transcript FILE

VIDEO is a recording (mp4, avi, mkv, flv, mpg, wav, …), or a folder of recordings, each with a transcript of the same
name in that folder; docs/predict.md lists the endings for which a folder is searched. The transcript is subtitles (SRT,
WebVTT, ASS, TTML, …), a meeting's export, Whisper's JSON, or a table (text, and speaker, start, end). Without VIDEO,
predictions use the text only, or the media files that the table's column `file` names. The command prints a table and
writes predictions.csv, predictions.json and report.html; with --also, subtitles (SRT, WebVTT) and annotations (ELAN,
Praat) too. An interrupted run can be resumed.

    python -m pipeline.predict --live

reads utterances from standard input while people speak, a JSON object a line, and answers each with a line.
"""

import argparse
import os
from pathlib import Path

from pipeline.stage import command

ALSO = ("srt", "vtt", "eaf", "TextGrid")
"""What --also can name; pipeline.prediction.annotations writes it."""


def formats(written: str) -> list[str]:
    """Understand the value of --also, in any case."""
    known = {name.lower(): name for name in ALSO}
    names = [name.strip().lower() for name in written.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{written!r}: must name some of {', '.join(ALSO)}, with commas between them")
    return [known[name] for name in dict.fromkeys(names)]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.predict", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("recording", nargs="?", type=Path, metavar="VIDEO", help="a recording, or a folder of them")
    parser.add_argument("--transcript", type=Path, metavar="FILE", help="srt, vtt, csv, tsv, txt, ass, ssa, ttml, "
                        "dfxp, sub or json; by default the file of the recording's name beside it")  # fmt: skip
    parser.add_argument("--model", default="starter", metavar="MODEL", help="a trained model: models/D, a copy of "
                        "models/D/bundle, a zip of it, or hf:org/name on the Hugging Face hub (default: starter, "
                        "which comes with the project)")  # fmt: skip
    parser.add_argument("--live", action="store_true", help="read utterances from standard input as they come (JSON "
                        "lines: text, speaker, file, start, end), and answer each with a line")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: predictions/NAME)")
    parser.add_argument("--also", type=formats, default=[], metavar="FORMATS", help="further outputs, with commas "
                        "between them: srt, vtt, eaf (ELAN), TextGrid (Praat)")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="K", help="the model of one seed (default: all together)")
    parser.add_argument("--risk", type=float, metavar="SHARE", help="say `not sure` where more than this share of the "
                        "answers would be wrong, such as 0.2, as measured on validation (default: never)")  # fmt: skip
    parser.add_argument("--text-encoder", default="", metavar="FOLDER", help="where the text encoder lies, if not "
                        "where it lay when the model was trained")  # fmt: skip
    for modality in ("audio", "visual"):
        parser.add_argument(f"--{modality}-encoder", default="", metavar="FOLDER", help=f"the same of the {modality} "
                            "encoder, if it is a transformers encoder")  # fmt: skip
    parser.add_argument("--recogniser", default="", metavar="NAME", help="without a transcript: a Whisper model, by "
                        "folder or name on the hub, that writes one")  # fmt: skip
    return parser


def main() -> None:
    given = arguments().parse_args()

    def work() -> None:
        # Imported here, because worker processes import this module too, and need neither torch nor transformers.
        if not given.live:
            from pipeline.prediction.run import run

            run(given)
            return
        os.environ.setdefault("TQDM_DISABLE", "1")  # read as tqdm is imported: no bar at each line
        try:
            from pipeline.prediction import live

            live.run(given)
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    command(work)


if __name__ == "__main__":
    main()
