"""Show that the probe for seen labels tells an encoder that was fine-tuned on test from one that was not.

    python -m paper.seen_labels meld_sdt
    python -m paper.seen_labels meld_sdt --share 0.3      # only this share of the train dialogues

The corpus' text encoder is used as published, fine-tuned on train, and fine-tuned on train and test (which nobody may
do whose scores on test are to mean anything). The text features of each are probed as the stage `leakage` does it, and
the result is a row of a table in Markdown. The recipe is the one that text.D.recipe names; the epoch is chosen on
validation. Finished trainings come from the store, so the command can be interrupted. docs/feature_files.md has the
table for MELD.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from extractors.extraction import as_features, by_key, extract
from extractors.features import Features
from extractors.settings import TextSettings
from extractors.text.extractor import TextExtractor
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.torch_setup import prepare_torch
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import load_params
from pipeline.scoring.leakage import probed, truth_of
from pipeline.stage import command, raw_folder
from pipeline.training.fine_tuning import finetune

FORMS: dict[str, tuple[str, ...]] = {
    "as published": (),
    "fine-tuned on train": ("train",),
    "fine-tuned on train and test": ("train", "test"),
}
"""Splits that each form of the encoder is fine-tuned on."""
HEADER = ("| encoder | verdict | wrong: train / validation / test | odds ratio of test | p | false alarms |\n"
          "|---|---|---|---|---|---|")  # fmt: skip


def run(corpus: str, share: float) -> Iterator[str]:
    """Yield the lines of the table, each as soon as it is known.

    Args:
        share: share of the train dialogues that is used, drawn at random; validation and test are always whole.
    """
    params = load_params()
    if corpus not in params.index:
        raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
    if not 0 < share <= 1:
        raise UserError(f"--share {share}: must be above 0, and 1 at most")
    prepare_torch()
    rows = with_share(read_index(Path("data") / corpus / "index.csv"), share)
    order = labels(params.index[corpus].reader, [row.label for row in rows])
    truth = truth_of(rows, order)
    yield HEADER
    for form, splits in FORMS.items():
        settings = params.text[corpus].model_copy(update={"finetune": bool(splits), "crossfit": 1})
        with tempfile.TemporaryDirectory() as temporary:
            fitted = Path(temporary) / "text"
            if splits:
                seen = [replace(row, split="train") if row.split in splits else row for row in rows]
                finetune(seen, order, settings, params.recipe(corpus), fitted)
            found = probed(features_of(rows, settings, raw_folder(corpus, params), fitted), truth, "text")
        yield line(form, found or {"verdict": "the corpus has no text"})


def with_share(rows: list[Utterance], share: float) -> list[Utterance]:
    """Leave out all train dialogues but the share `share` of them, drawn from a fixed seed."""
    dialogues = list(dict.fromkeys(row.dialogue_id for row in rows if row.split == "train"))
    kept = set(random.Random(0).sample(dialogues, round(share * len(dialogues))))
    return [row for row in rows if row.split != "train" or row.dialogue_id in kept]


def features_of(rows: list[Utterance], settings: TextSettings, raw: Path, fitted: Path) -> Features:
    """Text features of `rows`; `fitted` is the folder of the fine-tuned encoder, if it is fine-tuned."""
    extractor = TextExtractor(settings, raw, fitted)
    keys = extractor.keys(rows)
    return as_features(extractor, keys, extract(extractor, by_key(keys, rows), "text")[0])


def line(form: str, found: dict) -> str:
    """Row of the table."""
    if "errors" not in found:
        return f"| {form} | {found['verdict']} | | | | |"
    errors = " / ".join(f"{found['errors'][split]:.1f} %" for split in ("train", "validation", "test"))
    test = found["test"]
    return (f"| {form} | {found['verdict']} | {errors} | {test['odds_ratio']:.2f} | {test['p']:.4f} | "
            f"{100 * test['false_alarms']:.2f} % |")  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("corpus", help="a corpus of params.yaml with text, whose index is there")
    arguments.add_argument("--share", type=float, default=1.0, help="share of the train dialogues that is used")
    args = arguments.parse_args()

    def work() -> None:
        for text in run(args.corpus, args.share):
            print(text, flush=True)

    command(work)


if __name__ == "__main__":
    main()
