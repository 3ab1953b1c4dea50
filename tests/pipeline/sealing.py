"""The seal of a bundle, made as docs/predict.md says and not by the code under test."""

import hashlib
import json
from pathlib import Path


def reseal(bundle: Path) -> Path:
    """Seal a changed bundle as docs/predict.md says, so that it is refused for the change and not for the seal."""
    card = json.loads((bundle / "bundle.json").read_text())
    card.pop("checksum", None)
    files = sorted(file for file in bundle.rglob("*") if file.is_file() and file.name != "bundle.json")
    card["files"] = {str(file.relative_to(bundle)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    card["checksum"] = hashlib.sha256(json.dumps(card, separators=(",", ":")).encode()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(card))
    return bundle
