"""Descriptions of sounds and music, which are nobody's words: [door slams], (laughs), ♪ la la ♪."""

import re

SOUND = re.compile(
    r"\b(?:laugh|chuckl|giggl|snicker|sigh|gasp|cough|sneez|sniff|sniffl|sob|cry|weep|wail|scream|shout|yell|groan|moan"
    r"|grunt|whisper|mutter|mumbl|murmur|stammer|stutter|pant|breath|breathe|exhal|inhal|yawn|burp|hiccup|snor|whistl"
    r"|humm|sing|chant|clear|applaud|clap|cheer|boo|chatter|overlap|paus|knock|bang|thud|crash|slam|click|beep|bleep"
    r"|buzz|ring|honk|explod|bark|meow|roar|growl|rustl|creak|squeak|typ|tick|continu|speak|play|swallow|gulp|smack"
    r"|kiss|hesitat|cross-?talk)(?:s|es|ed|ped|ing|ning|ping|ling|ter|ies)?\b"
    r"|\b(?:music|song|melody|laughter|applause|crowd|silence|inaudible|unintelligible|indistinct|foreign language"
    r"|noises?|sounds?|static|footsteps|gunshots?|gunfire|explosions?|thunder|sirens?|phone|doorbell|door|engine|alarm"
    r"|horn|censored|redacted|blank_audio|theme|background|off ?screen|no audio|babble|instrumental|pause|beat"
    r"|rires?|soupirs?|musique|applaudissements?|lacht|lachen|seufzt|weint|musik|applaus|gelächter|risas?|ríe|música|aplausos?"
    r"|suspira|risate|ride|musica|applausi|смех|смеётся|смеется|вздыхает|музыка|аплодисменты|плачет)\b"
    r"|笑|音楽|拍手|掌声|掌聲|音乐|音樂|웃음|음악|박수",
    re.IGNORECASE,
)
"""Words of descriptions, in the languages that have most subtitles; a description is also known by its lower case."""
SQUARE = re.compile(r"\[[^\[\]]*\]|［[^［］]*］|【[^【】]*】|〔[^〔〕]*〕")
ROUND = re.compile(r"\([^()]*\)|（[^（）]*）")
ANGLE = re.compile(r"<[^<>\n]{1,40}>|\*[^*\n]{1,40}\*")
NOTES = "♪♫♬♩🎵🎶"
MUSIC = re.compile(rf"[{NOTES}][^{NOTES}\n]*[{NOTES}]?")
SONG = re.compile(r"[♪♫][^♪♫\n]*\n(?:[^♪♫\n]*\n)*?[^♪♫\n]*[^♪♫\s][ \t]*[♪♫][ \t]*(?=\n|$)")
"""Music over several lines: it begins in one and ends in another."""
SUNG = re.compile(r"#[^#\n]+#")
"""A line that is sung, as television writes it."""


MOST_WORDS = 4
"""Largest number of words of a description inside a sentence; a longer one in round brackets is said."""


def without_sounds(text: str) -> str:
    """Remove descriptions of sounds, and music, from what someone says.

    Square brackets are never words. Round ones may be: inside a text they are left unless they name a sound.
    """
    found = SQUARE.sub(" ", MUSIC.sub(" ", text))
    found = ANGLE.sub(_unless_said, found).strip()
    if SUNG.fullmatch(found) or ROUND.fullmatch(found):
        return ""
    if (first := ROUND.match(found)) and describes(first[0][1:-1]):
        found = found[first.end() :]
    found = ROUND.sub(_unless_said, found).strip()
    return found if found == text.strip() or any(character.isalnum() for character in found) else ""


def _unless_said(found: re.Match[str]) -> str:
    return " " if SOUND.search(found[0]) and len(found[0].split()) <= MOST_WORDS else found[0]


def describes(content: str) -> bool:
    """Check whether the content of brackets describes a sound or a manner: `laughs`, `angrily`."""
    return bool(SOUND.search(content)) or content.strip()[:1].islower()
