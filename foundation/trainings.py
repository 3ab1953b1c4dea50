"""Store of finished trainings in the work cache, for models, text encoders and the face encoder.

Each training has a folder `.cache/trainings/<identity>`. The identity is a hash of everything that affects the result:
the training data, the settings, and the code that is used. So neither deleting a model nor editing a comment causes a
new training, and an interrupted training resumes from the checkpoint in its folder.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from foundation.files import write_whole
from foundation.folders import cache_folder
from foundation.identity import fingerprint

FOLDER = "trainings"
"""Name of the store's folder in the work cache."""
ABOUT = "about.json"
"""File in a training's folder that says what is trained; for readers and for pruning."""


def folder_of(identity: Mapping[str, object]) -> Path:
    """Folder of the training with this identity."""
    return cache_folder() / FOLDER / fingerprint(identity)


def write_about(folder: Path, **values: str) -> None:
    """Write a note to `folder` that says what is trained there."""
    write_whole(folder / ABOUT, json.dumps(values))


def about(folder: Path) -> dict[str, str]:
    """Read the note that `write_about` wrote; empty if there is none."""
    file = folder / ABOUT
    try:
        found: dict[str, str] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError:  # broken: a training says what it is of when it begins again
        return {}
    return found
