"""Names of speakers at the beginning of a line: `Ann:`, `[SPEAKER_00]:`, `(Ann)`, `张三：`, `2nd Officer:`.

Whether `Look: a bird!` has a speaker cannot be known from the line. It is decided by what the file does elsewhere:
whether the name recurs, and whether most lines have one.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from pipeline.prediction.transcripts.sounds import MUSIC, NOTES, ROUND, SOUND, SQUARE, describes, without_sounds

LABEL = re.compile(
    r"(?P<name>\[[^\[\]:：\n]{1,60}\]|\([^():：\n]{1,60}\)|[^:：\n]{1,60}?)\s{0,3}(?P<colon>[:：])"
    r"(?:[*_]{1,2}|[\"”»’](?=\s))?(?P<rest>.*)",
    re.DOTALL,
)
BRACKET = re.compile(
    r"(?:\[(?P<square>[^\[\]:：\n]{1,60})\]|\((?P<round>[^():：\n]{1,60})\)|（(?P<wide>[^（）:：\n]{1,60})）"
    r"|【(?P<lens>[^【】:：\n]{1,60})】)\s*(?P<rest>.*)",
    re.DOTALL,
)
ASIDE = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）)\s*$")
"""What stands behind a name in brackets: a manner, a role, a place."""
QUOTES = '"“”„«»*_` \t'
"""What may stand around a name. An apostrophe at the end belongs to it: `Maitre d'`."""
MOST_WORDS, MOST_LETTERS = 6, 40
PARTICLES = frozenset(
    word
    for words in (
        "de del della delle der den des di da das do dos du d' el la le les et y e",
        "van von vom zu zur ten ter und av af bin bint ibn al of the and op st in on at with for from by",
    )
    for word in words.split()
)
"""Words of names that are written small."""
ABBREVIATION = re.compile(r"(?:\w{1,4}\.)+", re.UNICODE)
NUMBERED = re.compile(
    r"(?:speaker|spk|person|participant|interviewer|interviewee|caller|respondent|moderator|sprecher(?:in)?|locuteur|hablante"
    r"|говорящий|спикер|说话人|發言人|发言人|話者)[ _-]?(?:\d+|[A-Z])",
    re.IGNORECASE,
)
"""Names that programs give: SPEAKER_00, Speaker 1."""
PEOPLE = re.compile(
    r"(?:(?:the|a|young|old|older|little|male|female|another|other|first|second|third|\d+(?:st|nd|rd|th)) )*"
    r"(?:man|woman|boy|girl|men|women|narrator|announcer|reporter|interviewer|host|all|both|voice|child|kid|male|female"
    r"|teacher|officer|nurse|doctor|waiter|waitress|operator|audience member)s?(?: \d+)?",
    re.IGNORECASE,
)
"""Descriptions of people, which subtitles write in brackets before their words."""
TIMES = re.compile(r"[:.,\s>–-]*\d[\d:.,\s>–-]*")
"""A time that some programs write in brackets before the name; it has one first digit, so that a long text that is no
time is not tried from each of its digits."""
WORDS = frozenset(
    word
    for words in (
        "look listen see watch remember imagine think guess warning caution danger attention notice note notes nb fact",
        "facts rule rules tip tips hint hints example examples question questions answer answers result results update",
        "conclusion summary reminder step subject re fwd ps p.s fyi news breaking today tomorrow tonight yesterday",
        "now then first second third firstly secondly finally lastly last next also again anyway plus minus yes no ok",
        "okay well so but and or because option options time date place address phone email website source",
        "sources link price cost total score chapter part scene act section title lesson verse page point problem",
        "solution plan idea thing truth message status important urgent disclaimer spoiler edit todo faq tldr moral",
        "verdict translation subtitles captions transcript credits http https ftp mailto www file c d",
        "achtung hinweis merke frage antwort beispiel schau hör remarque exemple écoute regarde nota atención ejemplo",
        "pregunta respuesta mira escucha внимание примечание вопрос ответ например смотри",
        "注意 例如 比如 问题 問題 答案 警告",
    )
    for word in words.split()
)
"""Words that stand before a colon without being names."""
ADDRESSES = frozenset(("http", "https", "ftp", "mailto", "www", "file"))


class Kind(Enum):
    """How much a candidate looks like a name."""

    NUMBERED = 4
    UPPER = 3
    TITLE = 2
    """Every word begins with a capital or a digit, or is of a script without capitals."""
    LOWER = 1
    WORD = 0


class Label(NamedTuple):
    """A candidate for a name, and the text behind it."""

    name: str
    rest: str
    kind: Kind
    in_brackets: bool = False
    """Written as `(Ann) text`, without a colon, as descriptions of sounds are too."""

    @property
    def key(self) -> str:
        return self.name.casefold()


def label_of(line: str) -> Label | None:
    """Find the candidate for a name at the beginning of `line`, or None."""
    line = _behind_sounds(line)
    found = LABEL.fullmatch(line)
    if found and (name := name_in(found["name"])) and _may_follow(found):
        return Label(name, found["rest"].strip(), kind_of(name))
    if bracket := BRACKET.fullmatch(line):
        content = next(bracket[group] for group in ("square", "round", "wide", "lens") if bracket[group] is not None)
        name = name_in(content)
        if (
            name
            and not SOUND.search(content)
            and (not content.strip()[:1].islower() or PEOPLE.fullmatch(content.strip()))
        ):
            return Label(name, bracket["rest"].strip(), kind_of(name), in_brackets=True)
    return None


def _behind_sounds(line: str) -> str:
    """Take sounds off the beginning of a line: `[sighs] Ann: Hi` begins with a name."""
    line = line.strip()
    while sound := MUSIC.match(line) or SQUARE.match(line) or ROUND.match(line):
        content = sound[0][1:-1].strip()
        says_a_sound = describes(content) or TIMES.fullmatch(content)
        if line[0] not in NOTES and (not says_a_sound or PEOPLE.fullmatch(content)):
            break
        line = line[sound.end() :].strip()
    return line


def _may_follow(found: re.Match[str]) -> bool:
    """Check what stands behind the colon: no time (10:30), no address (http://), no face (`:)`)."""
    name, rest = found["name"].strip(), found["rest"]
    if not rest or rest[0].isspace() or found["colon"] == "：":
        return True
    if rest[0].isdigit():
        return not name[-1:].isdigit()
    if rest[0] in "([":
        return re.match(r"\([^()]+\)|\[[^\[\]]+\]", rest) is not None
    return rest[0].isalpha() or rest[0] in "\"“«„¿¡♪‘'…"


def name_in(written: str) -> str:
    """Take brackets, quotation marks and asides off a name; the result is empty if it cannot be one."""
    name = written.strip()
    if re.fullmatch(r"\[.*\]|\(.*\)", name):
        name = name[1:-1].strip()
    name = name.strip(QUOTES)
    if re.fullmatch(r"['‘].*['’]", name):
        name = name[1:-1]
    bare = ASIDE.sub("", name).strip(QUOTES)
    name = bare if bare and not ASIDE.fullmatch(name) else name
    words = name.split()
    if not name or len(words) > MOST_WORDS or len(name) > MOST_LETTERS or not any(map(str.isalpha, name)):
        return ""
    if any(
        not (
            c.isalnum()
            or c in " .,'’ʼ-‐–_&/#@+·・"
            or unicodedata.category(c)[0] == "M"
            or (unicodedata.category(c) == "So" and c not in NOTES)
        )
        for c in name
    ):
        return ""
    if any("." in word and not ABBREVIATION.fullmatch(word.rstrip(",")) for word in words):
        return ""
    return "" if words[-1].endswith(",") or name.casefold() in ADDRESSES else " ".join(words)


def kind_of(name: str) -> Kind:
    if NUMBERED.fullmatch(name):
        return Kind.NUMBERED
    words = name.split()
    first, last = words[0], words[-1]
    if first.casefold().rstrip(".") in WORDS and (len(words) == 1 or first.islower() or last.isdigit()):
        return Kind.WORD
    if name.isupper() and sum(map(str.isalpha, name)) > 1:
        return Kind.UPPER
    if "," in name:
        return Kind.LOWER  # `Lopez, Ann` or `Mum, listen`
    small = any(word[:1].islower() and word.casefold().rstrip(".") not in PARTICLES for word in words)
    if small or first[:1].islower() or (last.isalpha() and last in PARTICLES):
        return Kind.LOWER
    return Kind.TITLE


@dataclass(slots=True)
class Names:
    """What the file does: which candidates it has, how often, and of how many beginnings."""

    beginnings: int = 0
    """Number of places where a name may stand first: subtitles, lines, dashes."""
    counts: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Kind] = field(default_factory=dict)
    with_colon: set[str] = field(default_factory=set)
    written: dict[str, str] = field(default_factory=dict)
    """First spelling of each candidate."""
    given: set[str] = field(default_factory=set)
    """Names that the format itself gives, such as those of voice tags."""
    small: set[str] = field(default_factory=set)
    """Words that the texts have in lower case."""
    shouted: bool = False
    """Whether the texts are all in capitals, so that capitals say nothing."""

    def count(self, label: Label | None) -> None:
        """Count a beginning, which may have a candidate."""
        self.beginnings += 1
        if label:
            self.counts[label.key] += 1
            self.kinds.setdefault(label.key, label.kind)
            self.written.setdefault(label.key, label.name)
            if not label.in_brackets:
                self.with_colon.add(label.key)

    def read(self, texts: Iterable[str]) -> None:
        """Look at the texts themselves."""
        capitals = small = 0
        for text in texts:
            plain = without_sounds(text)
            capitals += sum(map(str.isupper, plain))
            small += sum(map(str.islower, plain))
            self.small |= {word for word in re.findall(r"\w+", plain) if word.islower()}
        self.shouted = capitals > small

    @property
    def share(self) -> float:
        """Share of the beginnings that have a candidate which looks like a name."""
        likely = sum(count for key, count in self.counts.items() if self._looks_like_a_name(key))
        return likely / self.beginnings if self.beginnings else 0.0

    @property
    def labelled(self) -> float:
        """Share of the beginnings that have any candidate but a common word."""
        some = sum(count for key, count in self.counts.items() if self.kinds[key] is not Kind.WORD)
        return some / self.beginnings if self.beginnings else 0.0

    def _looks_like_a_name(self, key: str) -> bool:
        kind = self.kinds[key]
        return kind in (Kind.NUMBERED, Kind.UPPER, Kind.TITLE) or (kind is Kind.LOWER and self.counts[key] > 1)

    @property
    def single(self) -> bool:
        """Whether only one candidate looks like a name."""
        return sum(self._looks_like_a_name(key) for key in self.counts) < 2

    def is_doubtful(self, key: str) -> bool:
        """Check whether a candidate may well be no name, although it was accepted."""
        kind = self.kinds[key]
        return kind in (Kind.WORD, Kind.LOWER) or (kind is Kind.TITLE and self.counts[key] == 1 and self.share < 0.5)

    def accepted(self) -> set[str]:
        """Decide which candidates are speakers; the result has their keys."""
        found = {key for key in self.counts if key in self.with_colon and self._is_speaker(key)} | self.given
        return found | {key for key in self.counts if key not in self.with_colon and self._is_speaker_in_brackets(key)}

    def _is_speaker(self, key: str) -> bool:
        count, kind = self.counts[key], self.kinds[key]
        often = count / self.beginnings
        if kind is Kind.NUMBERED or (kind is Kind.UPPER and not self.shouted):
            return True
        if kind is Kind.WORD:
            # `Question:` and `Answer:` may be the two of an interview, but then most lines have one of them.
            return count >= 3 and often >= 0.2
        if kind is Kind.LOWER:
            written_small = self.beginnings > 1 and self.labelled >= 0.8 and len(key.split()) == 1  # as in a chat
            return written_small or (count >= 2 and self.labelled >= 0.5) or (count >= 3 and often >= 0.1)
        # A name that the texts have in lower case too is a common word, unless nearly all lines have names.
        return count >= 2 or self.share >= (0.8 if key in self.small else 0.4 if self.single else 0.25)

    def _is_speaker_in_brackets(self, key: str) -> bool:
        count, kind = self.counts[key], self.kinds[key]
        if kind is Kind.NUMBERED or PEOPLE.fullmatch(self.written[key]):
            return True
        if kind in (Kind.WORD, Kind.LOWER):
            return False
        return self.share >= 0.5 or (count >= 2 and self.share >= 0.2)


SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bProf)[.?!…][\"”»’)\]]?\s+(?=\S)|[。？！]\s*(?=\S)"
)


def middle_label(text: str, accepted: set[str], shouted: bool) -> tuple[int, Label] | None:
    """Find the first name inside a line, behind the end of a sentence: `Where were you? BOB: At home.`"""
    sure = (Kind.NUMBERED,) if shouted else (Kind.NUMBERED, Kind.UPPER)
    for end in SENTENCE_END.finditer(text):
        label = label_of(text[end.end() :])
        if label and not label.in_brackets and (label.key in accepted or label.kind in sure):
            return end.end(), label
    return None
