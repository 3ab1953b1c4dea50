"""Kinds of text features, and the path of those that the stage text@D makes in addition for the report."""

from pathlib import Path

from pipeline.params import Params

FOLDER = Path("paper/features")


def other_text(corpus: str) -> Path:
    """File with the text features that the main pipeline does not make: of the fine-tuned or the published encoder."""
    return FOLDER / corpus / "text.safetensors"


def kind_of_text(corpus: str, params: Params) -> str:
    """Kind of the text features that a model reads: `frozen`, `tuned` or `context`.

    It is empty if the model reads no text, or if a published file brings the text as vectors.
    """
    index, text = params.index[corpus], params.text[corpus]
    given = index.reader == "features" and "text" in index.vectors
    if given or "text" not in index.modalities or "text" not in params.model.modalities:
        return ""
    if not text.finetune:
        return "frozen"
    return "context" if text.context.reads_around else "tuned"
