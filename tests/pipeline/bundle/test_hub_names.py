"""A model by its name on the hub, which is a stand-in on this machine: what is asked for, and what is refused."""

import json
from pathlib import Path

import pytest

from pipeline.bundle.places import open_bundle
from tests.pipeline.bundle.hub import READS, StandInHub, use
from tests.pipeline.bundle.places import refused, weights_of, zipped


def test_from_the_hub_come_a_bundles_kinds_of_files_and_no_others(small: Path, hub: StandInHub) -> None:
    bad = {"extra.py": b"1", "extra.bin": b"2", "a/model.pt": b"3", "x.pkl": b"4", ".gitattributes": b"5"}
    hub.add("somebody/small", small, bad | {"README.md": b"a card"})
    bundle = open_bundle("hf:somebody/small")
    assert weights_of("hf:somebody/small") == (small / "seed0.safetensors").read_bytes()
    assert hub.files_sent == {"README.md", "bundle.json", "seed0.safetensors", "statistics.safetensors"}
    assert {path.name for path in bundle.folder.iterdir()} == hub.files_sent


def test_a_bundle_of_a_newer_format_says_that_a_newer_version_is_needed(
    small: Path, tmp_path: Path, hub: StandInHub
) -> None:
    card = json.loads((small / "bundle.json").read_text())
    reads = card["format"]
    (small / "bundle.json").write_text(json.dumps({**card, "format": reads + 1}))
    hub.add("somebody/newer", small)
    words = (f"is a bundle of format {reads + 1}, and this version of the project reads format {reads}: it needs a "
             "newer version of the project")  # fmt: skip
    for model in (small, zipped(tmp_path / "a.zip", small), "hf:somebody/newer"):
        refused(model, words)
    assert hub.files_sent == {"bundle.json"}


def test_a_model_that_was_downloaded_needs_no_network(
    small: Path, tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("somebody/small", small)
    open_bundle("hf:somebody/small")
    use("http://127.0.0.1:1", tmp_path / "home", "", monkeypatch)
    assert open_bundle("hf:somebody/small").corpus == "small"
    said = refused("hf:somebody/other", r"hf:somebody/other: the hub cannot be reached .* try again with a network")
    assert "\n" not in said


def test_a_revision_is_a_branch_or_a_commit(small: Path, hub: StandInHub) -> None:
    repository = hub.add("somebody/small", small)
    first = repository.branches["main"]
    repository.commit({}, "main")
    repository.branches["v1"] = first
    assert open_bundle("hf:somebody/small@v1").folder.name == first
    assert open_bundle(f"hf:somebody/small@{first}").folder.name == first
    refused("hf:somebody/small", "hf:somebody/small: has no bundle.json on the hub: it is no trained model")
    refused("hf:somebody/small@v2", "hf:somebody/small@v2: the hub has no such revision of it")


@pytest.mark.parametrize(
    "name", ["hf:", "hf:small", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b@c@d", "hf:a/b?c", "hf:a--b/c"]
)
def test_what_is_no_name_on_the_hub_is_not_asked_for(name: str, hub: StandInHub) -> None:
    assert refused(name, "hf:").startswith(f"{name}: ")
    assert hub.asked == []


def test_a_model_that_only_some_may_read_names_the_remedy(
    small: Path, tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("somebody/small", small).private = True
    use(hub.address, tmp_path / "other", "", monkeypatch)
    words = r"the hub has no such model, or shows it only to some: check the name, or log in \(`hf auth login`\)"
    refused("hf:somebody/small", f"hf:somebody/small: {words}")
    refused("hf:somebody/none", f"hf:somebody/none: {words}")
    use(hub.address, tmp_path / "other", READS, monkeypatch)
    assert open_bundle("hf:somebody/small").corpus == "small"


def test_a_link_of_a_download_may_not_lead_out_of_the_hubs_cache(small: Path, tmp_path: Path, hub: StandInHub) -> None:
    hub.add("somebody/small", small)
    file = open_bundle("hf:somebody/small").folder / "seed0.safetensors"
    assert file.is_symlink()
    file.unlink()
    file.symlink_to(small / "seed0.safetensors")
    refused("hf:somebody/small", "seed0.safetensors: is a link that leads out of the bundle")
