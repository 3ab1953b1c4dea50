"""What meeting software and recognisers export as plain text."""

from pathlib import Path

import pytest

from tests.pipeline.prediction.transcripts.files import essence, read, said

OTTER = """Ann Smith  0:03
Hello there everyone.
How are you?

Speaker 2  0:15
Fine. Meet at 10:30.

Ann Smith  1:02:03
Great.

Transcribed by https://otter.ai
"""
EXPORTS = {
    "otter": (OTTER, [("Ann Smith", "Hello there everyone. How are you?", 3.0, 15.0),
                      ("Speaker 2", "Fine. Meet at 10:30.", 15.0, 3723.0), ("Ann Smith", "Great.", 3723.0, None)]),
    "teams": ("Weekly-20240101-Meeting Recording\nJanuary 1, 2024, 10:00AM\n\nAnn Smith started transcription\n\n"
              "Ann Smith   0:03\nHello.\n\nLee, Bob   0:15\nFine.\n\nAnn Smith stopped transcription\n",
              [("Ann Smith", "Hello.", 3.0, 15.0), ("Lee, Bob", "Fine.", 15.0, None)]),
    "older teams": ("0:0:0.0 --> 0:0:2.450\nAnn Smith\nHello.\n\n0:0:2.450 --> 0:0:5.0\nLee, Bob\nFine\nwe are.\n",
                    [("Ann Smith", "Hello.", 0.0, 2.45), ("Lee, Bob", "Fine we are.", 2.45, 5.0)]),
    "zoom": ("00:00:03 --> 00:00:05\nAnn Smith: Hello.\n\n00:00:06 --> 00:00:09\nBob Lee: Fine.\n",
             [("Ann Smith", "Hello.", 3.0, 5.0), ("Bob Lee", "Fine.", 6.0, 9.0)]),
    "zoom's captions": ("[Ann Smith] 10:03:12\nHello.\n\n[Bob Lee] 10:03:20\nFine.\n",
                        [("Ann Smith", "Hello.", 0.0, 8.0), ("Bob Lee", "Fine.", 8.0, None)]),
    "zoom's chat": ("10:03:12\t From Ann Smith to Everyone:\n\tHello.\n10:03:20 From  Bob Lee : Fine.\n",
                    [("Ann Smith", "Hello.", 0.0, 8.0), ("Bob Lee", "Fine.", 8.0, None)]),
    "brackets": ("[00:00:03] Ann: Hello.\n[00:00:06,5] Bob: Fine.\n\n[00:01:00] Ann: Bye.\n",
                 [("Ann", "Hello.", 3.0, 6.5), ("Bob", "Fine.", 6.5, 60.0), ("Ann", "Bye.", 60.0, None)]),
    "ranges": ("[00:03 - 00:05] Ann: Hello.\n[00:06 - 00:09] Bob: Fine.\n",
               [("Ann", "Hello.", 3.0, 5.0), ("Bob", "Fine.", 6.0, 9.0)]),
    "rev": ("Ann (00:03):\nHello.\n\nBob (00:09):\nFine.\n\nAnn (01:02:03): Bye.\n",
            [("Ann", "Hello.", 3.0, 9.0), ("Bob", "Fine.", 9.0, 3723.0), ("Ann", "Bye.", 3723.0, None)]),
    "names below": ("00:00:03 Ann Smith\nHello.\n00:00:09 Bob Lee\nFine.\n",
                    [("Ann Smith", "Hello.", 3.0, 9.0), ("Bob Lee", "Fine.", 9.0, None)]),
    "whisper": ("[00:00:00.000 --> 00:00:02.000]   Hello.\n[00:00:02.000 --> 00:00:04.000]   Fine.\n",
                [("speaker", "Hello.", 0.0, 2.0), ("speaker", "Fine.", 2.0, 4.0)]),
    "twelve hours": ("[11:03 AM] Ann: Hello.\n[12:04 PM] Bob: Fine.\n[1:04:30 p.m.] Ann: Bye.\n",
                     [("Ann", "Hello.", 0.0, 3660.0), ("Bob", "Fine.", 3660.0, 7290.0), ("Ann", "Bye.", 7290.0, None)]),
    "meet": ("00:00:00\n\nAnn Smith: Hello.\n\n00:05:00\n\nBob Lee: Fine.\nTranscription ended after 00:06:00\n\n"
             "This editable transcript was computer generated and might contain errors.\n",
             [("Ann Smith", "Hello.", 0.0, 300.0), ("Bob Lee", "Fine.", 300.0, None)]),
    "audacity": ("0.500000\t2.000000\tAnn: Hello.\n\\\t100.0\t200.0\n2.000000\t2.000000\tBob: Fine.\n3,5\t4,5\tSo.\n",
                 [("Ann", "Hello.", 0.5, 2.0), ("Bob", "Fine.", 2.0, 3.5), ("Bob", "So.", 3.5, 4.5)]),
    "times alone": ("0:03\nhello there\n0:06\nfine\n",
                    [("speaker", "hello there", 3.0, 6.0), ("speaker", "fine", 6.0, None)]),
    "times now and then": ("00:00:00\n\nAnn Smith: Hello.\nBob Lee: So it is.\n\n00:00:32\n\nAnn Smith: Bye.\n"
                           "Bob Lee: Bye.\n",
                           [("Ann Smith", "Hello.", 0.0, 12.8), ("Bob Lee", "So it is.", 12.8, 32.0),
                            ("Ann Smith", "Bye.", 32.0, 32.267), ("Bob Lee", "Bye.", 32.267, None)]),
}  # fmt: skip


@pytest.mark.parametrize("program", EXPORTS)
def test_an_export_has_its_speakers_and_times(tmp_path: Path, program: str) -> None:
    content, expected = EXPORTS[program]
    assert essence(read(tmp_path, ".txt", content)) == expected


def test_what_an_export_leaves_open_is_noted(tmp_path: Path) -> None:
    assert read(tmp_path, ".txt", OTTER).notes == [
        "1 lines of the program that wrote the transcript were passed over",
        "the transcript has no ends: an utterance lasts until the next one begins",
    ]
    assert read(tmp_path, ".txt", EXPORTS["zoom's captions"][0]).notes[0] == (
        "the times are those of a clock on the wall: they are counted from the first, as if the recording began there, "
        "at 36192 s of the day"
    )
    assert (
        "2 lines stand before the first time, and were passed over" in read(tmp_path, ".txt", EXPORTS["teams"][0]).notes
    )


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_vtt_of_meetings_has_names_of_any_form(tmp_path: Path, suffix: str) -> None:
    zoom = ("WEBVTT\n\n1\n00:00:03.120 --> 00:00:05.990\nAnn Smith: Hello.\n\n"
            "2\n00:00:06.000 --> 00:00:09.000\nBob Lee: Fine.\n")  # fmt: skip
    assert said(read(tmp_path, suffix, zoom)) == [("Ann Smith", "Hello."), ("Bob Lee", "Fine.")]
    teams = ("WEBVTT\n\n2a1f-11/12-0\n00:00:03.120 --> 00:00:05.990\n<v Smith, Ann>Hello.</v>\n\n2a1f-11/13-0\n"
             "00:00:06.000 --> 00:00:09.000\n<v Lee, Bob (Guest)>Fine.</v>\n")  # fmt: skip
    assert said(read(tmp_path, suffix, teams)) == [("Smith, Ann", "Hello."), ("Lee, Bob (Guest)", "Fine.")]
    webex = ("WEBVTT\n\n1 \"Ann Smith\" (123456)\n00:00:03.120 --> 00:00:05.990\nHello.\n\n2 \"Bob Lee\" (223456)\n"
             "00:00:06.000 --> 00:00:09.000\nFine.\n")  # fmt: skip
    assert said(read(tmp_path, suffix, webex)) == [("Ann Smith", "Hello."), ("Bob Lee", "Fine.")]


def test_a_time_that_is_said_makes_no_export(tmp_path: Path) -> None:
    half = read(tmp_path, ".txt", "Ann: Hi.\nBob: Let us meet.\n10:30 am is fine.\nAnn: Fine.\n")
    assert said(half)[2] == ("Bob", "10:30 am is fine.")
    found = read(tmp_path, ".txt", "Ann: Hi.\nBob: Let us meet at 10:30.\n10:30 is fine.\nAnn: Or 11:15\n")
    assert essence(found) == [
        ("Ann", "Hi.", None, None), ("Bob", "Let us meet at 10:30.", None, None), ("Bob", "10:30 is fine.", None, None),
        ("Ann", "Or 11:15", None, None),
    ]  # fmt: skip
