"""Broken inputs by the thousand, for hours if wanted: what `make fuzz` runs.

python -m tests.fuzz.run --examples 100000          so many inputs over all readers
python -m tests.fuzz.run --minutes 600              for so long
python -m tests.fuzz.run --only transcript          readers whose name has this word

Each reader has a process of its own, which may die of its input (a fault of FFmpeg, too little memory). A finding is
written to --findings as the input and what it did; at the end come the totals. Exit status 1: there were findings.
"""

import argparse
import faulthandler
import logging
import multiprocessing
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from extractors.media import MediaError
from foundation.errors import UserError
from tests.fuzz.mutation import broken
from tests.fuzz.readers import READERS, Reader

TOGETHER = 2000
"""Inputs that a process reads of a reader with a share of 1, before another reader's turn."""
HANGS = 120.0
"""Seconds after which an input has hung: its process writes where it stands, and ends."""
SHRINKING = (Phase.generate, Phase.shrink)


class SlowError(AssertionError):
    """A reader took longer for an input than it may."""


def attempt(reader: Reader, folder: Path, content: bytes) -> str:
    """Read `content`: `read` or `refused`; whatever else comes out is a finding, and raised.

    Raises:
        SlowError: it took too long.
    """
    began = time.process_time()  # so that a busy machine makes no finding; what waits for ever is ended after HANGS
    outcome = "read"
    try:
        reader.read(folder, content)
    except (UserError, MediaError) as error:
        outcome = "refused"
        if not str(error).strip():
            raise AssertionError("refused without a word") from error
    took = time.process_time() - began
    if took > reader.seconds:
        raise SlowError(f"took {took:.1f} s of processor time, more than {reader.seconds:g} s")
    return outcome


def fuzzed(
    reader: Reader, folder: Path, examples: int, number: int | None, before: Callable[[bytes], object]
) -> Counter[str]:
    """Let `reader` read so many broken inputs; the first finding is made small, and raised.

    Args:
        number: the seed by which inputs are drawn; None: always the same ones.
        before: is called with each input before it is read.
    """
    outcomes: Counter[str] = Counter()
    seeds = reader.all_seeds(folder)
    reader.around(folder)

    def one(content: bytes) -> None:
        before(content)
        outcomes[attempt(reader, folder, content)] += 1

    wrapped = settings(
        max_examples=examples, derandomize=number is None, database=None, deadline=None, phases=SHRINKING,
        suppress_health_check=list(HealthCheck),
    )(given(broken(seeds, reader.words))(one))  # fmt: skip
    (wrapped if number is None else seed(number)(wrapped))()
    return outcomes


def slug(name: str) -> str:
    """The reader's name as a part of a file's name."""
    return re.sub(r"\W+", "_", name).strip("_")


def in_this_process(name: str, examples: int, number: int, findings: Path, answer: Connection) -> None:
    """Fuzz one reader and send its outcomes; what is found is written to `findings`."""
    last = findings / f"{slug(name)}.last"
    found: Counter[str] = Counter()
    logging.disable()

    def remember(content: bytes) -> None:
        last.write_bytes(content)  # so that an input which ends the process is known
        faulthandler.dump_traceback_later(HANGS, exit=True)

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = fuzzed(READERS[name], Path(folder), examples, number, remember)
        except Exception as error:
            found["findings"] += 1
            if last.exists():
                (findings / f"{slug(name)}.{number}.input").write_bytes(last.read_bytes())
            (findings / f"{slug(name)}.{number}.txt").write_text(traceback.format_exc(), "utf-8", "backslashreplace")
            said = f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(said.encode("utf-8", "backslashreplace").decode(), flush=True)
    faulthandler.cancel_dump_traceback_later()
    last.unlink(missing_ok=True)
    answer.send(found)


def in_another_process(name: str, examples: int, number: int, findings: Path) -> Counter[str]:
    """Run `in_this_process` in another process, and give its outcomes; its death is a finding."""
    # Forked, because the libraries take seconds to load. This process uses none of them, so that no thread is lost.
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=in_this_process, args=(name, examples, number, findings, there))
    process.start()
    there.close()
    try:
        found: Counter[str] = here.recv()
    except EOFError:
        process.join()
        last = findings / f"{slug(name)}.last"
        if last.exists():
            last.rename(findings / f"{slug(name)}.{number}.input")
        print(f"{name}: its process ended with {process.exitcode}", flush=True)
        found = Counter({"findings": 1})
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, help="number of inputs over all readers (default: 100000)")
    parser.add_argument("--minutes", type=float, help="time, instead of a number")
    parser.add_argument("--only", default="", help="a word in the names of the readers")
    parser.add_argument("--together", type=int, default=TOGETHER, help="inputs that a process reads before the next "
                        "reader's turn")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="by which inputs are drawn")
    parser.add_argument("--findings", type=Path, default=Path(".fuzz"), help="folder of what was found")
    args = parser.parse_args()
    args.findings.mkdir(parents=True, exist_ok=True)
    names = [name for name in READERS if args.only in name]
    if not names:
        parser.error(f"--only {args.only}: no reader has this in its name; there are {', '.join(READERS)}")
    totals = {name: Counter[str]() for name in names}
    until = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    wanted = args.examples or (100_000 if not args.minutes else sys.maxsize)
    number = args.seed
    try:
        while sum(sum(total.values()) for total in totals.values()) < wanted and time.monotonic() < until:
            number += 1
            for name in names:
                if time.monotonic() < until:
                    totals[name] += in_another_process(
                        name, max(1, round(args.together * READERS[name].share)), number, args.findings
                    )
    except KeyboardInterrupt:
        pass
    print(table(totals))
    raise SystemExit(any(total["findings"] for total in totals.values()))


def table(totals: dict[str, Counter[str]]) -> str:
    """The totals as a Markdown table."""
    lines = ["| reader | inputs | read | refused | findings |", "|---|---|---|---|---|"]
    for name, total in [*totals.items(), ("all", sum(totals.values(), Counter[str]()))]:
        inputs = total["read"] + total["refused"] + total["findings"]
        lines.append(f"| {name} | {inputs:,} | {total['read']:,} | {total['refused']:,} | {total['findings']:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
