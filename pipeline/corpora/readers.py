"""Choice of the corpus reader that `index.D.reader` names."""

from pathlib import Path

from pipeline.corpora import assembled, features, iemocap, meld, meld_fair, table
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.settings import (
    AssembledSettings,
    DemoSettings,
    FeaturesSettings,
    IemocapSettings,
    MeldSettings,
    TableSettings,
)


def read(
    raw: Path,
    settings: DemoSettings | MeldSettings | IemocapSettings | TableSettings | AssembledSettings | FeaturesSettings,
) -> RawCorpus:
    """Read the utterances of the raw corpus in `raw`, without opening its media.

    Raises:
        UserError: the folder is not such a corpus, or has an invalid row; the message names file and line.
    """
    match settings:
        case IemocapSettings():
            return iemocap.read(
                raw, settings.modalities, settings.validation, settings.validation_seed, settings.context
            )
        case TableSettings():
            return table.read(raw, settings.modalities)
        case AssembledSettings():
            return assembled.read(raw, settings)
        case FeaturesSettings():
            return features.read(raw, settings)
        case MeldSettings() | DemoSettings():  # the synthetic corpus has MELD's layout
            corpus = meld.read(raw, settings.modalities)
            if isinstance(settings, MeldSettings) and settings.cuts == "fair":
                meld_fair.recut(corpus, raw, settings.fair_folder, settings.modalities)
            return corpus
