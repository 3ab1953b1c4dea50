"""Where the second pipeline's own features lie: text@D leaves them there."""

from pathlib import Path

FOLDER = Path("paper/features")


def other_text(corpus: str) -> Path:
    """The text features of the encoder as the main pipeline does not use it: fine-tuned, or as published."""
    return FOLDER / corpus / "text.safetensors"
