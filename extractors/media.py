"""Sound and pictures of media files, on the time line that a player shows. No other module decodes media.

A file that cannot be read raises `MediaError` with a readable reason; a truncated file gives what can be decoded.
Decoding is streamed, so memory does not grow with the length of a video. This module only has the names for other
rooms; the work is done in extractors/decoding/.
"""

from extractors.decoding.content import ContentError, require_content, state
from extractors.decoding.files import MediaError, OverBudgetError, chosen, no_file, open_container, usable
from extractors.decoding.inspection import MediaInfo, media_info
from extractors.decoding.joined import joined_pictures, joined_sound, joints_of, require_parts
from extractors.decoding.pictures import pictures
from extractors.decoding.sound import RATE, read_sound

__all__ = [
    "RATE", "ContentError", "MediaError", "MediaInfo", "OverBudgetError", "chosen", "joined_pictures", "joined_sound",
    "joints_of", "media_info", "no_file", "open_container", "pictures", "read_sound",
    "require_content", "require_parts", "state", "usable",
]  # fmt: skip
