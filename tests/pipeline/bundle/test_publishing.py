"""`python -m pipeline.bundle publish`: into a folder, a zip, or a hub, which is a stand-in on this machine."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from safetensors.torch import save_file

from foundation.errors import UserError
from pipeline import predict
from pipeline.bundle.__main__ import arguments
from pipeline.bundle.card import CardOptions
from pipeline.bundle.places import open_bundle
from pipeline.bundle.publishing import publish
from pipeline.prediction.run import run
from tests.pipeline.bundle.hub import READS, WRITES, StandInHub, use
from tests.pipeline.bundle.places import weights_of, zipped
from tests.pipeline.sealing import reseal

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(("token", "name"), [("", "somebody/new"), (READS, "somebody/new"), (WRITES, "other/new")])
def test_who_may_not_publish_there_is_told_how_to_log_in(
    token: str, name: str, small: Path, tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(hub.address, tmp_path / "home", token, monkeypatch)
    with pytest.raises(UserError, match=rf"^hf:{name}: the hub does not let you write .*`hf auth login`") as error:
        publish(str(small), f"hf:{name}", CardOptions())
    assert "\n" not in str(error.value)
    use("http://127.0.0.1:1", tmp_path / "home", WRITES, monkeypatch)
    with pytest.raises(UserError, match=rf"^hf:{name}: the hub cannot be reached") as error:
        publish(str(small), f"hf:{name}", CardOptions())
    assert "\n" not in str(error.value)
    assert hub.repositories == {}


def test_a_second_publication_leaves_nothing_of_the_first(small: Path, hub: StandInHub) -> None:
    repository = hub.add(
        "somebody/small", small, {"seed7.safetensors": b"old", "old/vocab.txt": b"old", "face.png": b"1"}
    )
    publish(str(small), "hf:somebody/small", CardOptions())
    own = {"README.md", "bundle.json", "seed0.safetensors", "statistics.safetensors"}
    assert repository.files().keys() == own | {"face.png"}
    assert weights_of("hf:somebody/small") == (small / "seed0.safetensors").read_bytes()


def test_a_private_model_is_never_put_where_all_can_read_it(small: Path, hub: StandInHub) -> None:
    publish(str(small), "hf:somebody/mine", CardOptions(), private=True)
    assert hub.repositories["somebody/mine"].private
    before = hub.add("somebody/all", small).branches["main"]
    with pytest.raises(UserError, match="hf:somebody/all: is there already, and public"):
        publish(str(small), "hf:somebody/all", CardOptions(), private=True)
    assert hub.repositories["somebody/all"].branches == {"main": before}


def test_a_branch_is_published_and_main_stays(small: Path, hub: StandInHub) -> None:
    publish(str(small), "hf:somebody/small@v2", CardOptions())
    assert hub.repositories["somebody/small"].files() == {}
    assert open_bundle("hf:somebody/small@v2").corpus == "small"
    assert "--model hf:somebody/small@v2" in hub.repositories["somebody/small"].files("v2")["README.md"].decode()


def test_nothing_that_is_there_is_replaced(small: Path, tmp_path: Path) -> None:
    for name in ("there", "there.zip"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UserError, match=f"{name}: is there already; give another name, or remove it first"):
            publish(str(small), str(tmp_path / name), CardOptions())
        assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["file/sub", "file/sub.zip", "n" * 300, f"{'n' * 300}.zip"])
def test_a_place_below_a_file_is_refused_in_one_line(name: str, small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=f"{name}: cannot be written there .*Give another place"):
        publish(str(small), str(tmp_path / name), CardOptions())


def test_a_broken_model_is_not_published(small: Path, tmp_path: Path) -> None:
    (small / "seed0.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"seed0\.safetensors: was changed after it was written"):
        publish(str(small), str(tmp_path / "new.zip"), CardOptions())
    assert not (tmp_path / "new.zip").exists()


def test_weights_and_kinds_of_files_are_checked_whoever_sealed_them(small: Path, tmp_path: Path) -> None:
    (small / "extra.bin").write_bytes(b"1")
    with pytest.raises(UserError, match=r"extra\.bin: is of no kind that others download"):
        publish(str(reseal(small)), str(tmp_path / "new.zip"), CardOptions())
    (small / "extra.bin").unlink()
    save_file({"other": torch.zeros(1)}, small / "seed0.safetensors")
    with pytest.raises(UserError, match=r"seed0\.safetensors: does not fit this version of the model"):
        publish(str(reseal(small)), str(tmp_path / "new.zip"), CardOptions())
    assert not (tmp_path / "new.zip").exists()


def test_a_published_zip_has_the_same_bytes_each_time(small: Path, tmp_path: Path) -> None:
    (small / ".DS_Store").write_bytes(b"1")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path / folder)
            publish(str(small), "model.zip", CardOptions())
        os.utime(small / "bundle.json", (0, 0))
    assert (tmp_path / "one/model.zip").read_bytes() == (tmp_path / "two/model.zip").read_bytes()
    with ZipFile(tmp_path / "one/model.zip") as archive:
        assert archive.namelist() == [
            "bundle/README.md", "bundle/bundle.json", "bundle/seed0.safetensors", "bundle/statistics.safetensors",
        ]  # fmt: skip


@pytest.mark.slow
def test_the_command_publishes_to_the_hub_of_the_environment(small: Path, tmp_path: Path, hub: StandInHub) -> None:
    command = [sys.executable, "-m", "pipeline.bundle", "publish", str(small), "--to", "hf:somebody/small"]
    home = {"HF_HOME": str(tmp_path / "fresh"), "HF_ENDPOINT": hub.address, "HF_TOKEN": WRITES}
    done = subprocess.run([*command, "--license", "mit", "--language", "en", "--private", "--revision", "v1"],
                          cwd=PROJECT, env={**os.environ, **home}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = hub.repositories["somebody/small"].files("v1")
    assert files["seed0.safetensors"] == (small / "seed0.safetensors").read_bytes()
    assert files["README.md"].startswith(b"---\nlanguage:\n- en\nlibrary_name: cmath-erc\nlicense: mit\n")
    assert "whether weights that were learned from small may be passed on, its licence says" in done.stderr
    command[-1] = str(tmp_path / "a.zip")
    done = subprocess.run(
        [*command, "--private"], cwd=PROJECT, env={**os.environ, **home}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        1, f"error: --to {tmp_path / 'a.zip'}: --private and --revision are for the hub, hf:org/name\n"
    )  # fmt: skip


@pytest.mark.slow
def test_the_same_predictions_wherever_the_model_lies(
    trained: Path, tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, clip = trained / "models/demo", next((trained.parent / "raw").rglob("dia0_utt0.mp4"))
    places = [str(tmp_path / "folder"), str(tmp_path / "model.zip"), "hf:somebody/demo"]
    for place in places:
        publish(str(source), place, CardOptions(licence="mit"))
    by_hand = zipped(tmp_path / "by hand.zip", source, "demo/")
    files = {path.name: path.read_bytes() for path in (source / "bundle").rglob("*") if path.is_file()}
    for place in (*places, by_hand):
        folder = open_bundle(place).folder
        assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.name in files} == files
    (tmp_path / "talk.csv").write_text("speaker,text,start,end\nAnn,What a day!,0,0.7\nBob,No.,0.7,1.2\n")
    made = []
    for place, cache in ((source, "one"), (places[1], "one"), (places[2], "other")):  # which extracts once more
        monkeypatch.setenv("CMATH_CACHE", str(tmp_path / cache))
        given = [str(clip), "--transcript", str(tmp_path / "talk.csv"), "--model", str(place)]
        run(predict.arguments().parse_args([*given, "--out", str(tmp_path / "out")]))
        made.append([(tmp_path / f"out/predictions.{ending}").read_bytes() for ending in ("csv", "json")])
    assert made[0] == made[1] == made[2]
    assert b"What a day!" in made[0][0]


def test_help_names_what_a_model_and_a_destination_may_be() -> None:
    for parser in (predict.arguments(), arguments()):
        assert "hf:org/name" in parser.format_help()
