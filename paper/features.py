"""Paths of the additional text features that the stage text@D makes for the report."""

from pathlib import Path

FOLDER = Path("paper/features")


def other_text(corpus: str) -> Path:
    """File with the text features that the main pipeline does not make: of the fine-tuned or the published encoder."""
    return FOLDER / corpus / "text.safetensors"
