"""`python -m pipeline.cache`: what it lists, what it deletes, and what it leaves alone."""

import os
from pathlib import Path

import pytest

from extractors.audio.extractor import VERSION as AUDIO_VERSION
from extractors.audio.extractor import AudioExtractor
from extractors.cache import ShardCache, WorkCache
from extractors.text.extractor import TextExtractor
from extractors.text.folders import encoder_folder
from extractors.training import text_training
from extractors.visual.extractor import VisualExtractor
from foundation.device import device
from foundation.errors import UserError
from foundation.identity import fingerprint
from pipeline import cache
from pipeline.corpora.labels import labels
from pipeline.corpora.media_files import memory_identity
from pipeline.params import Params, load_params
from pipeline.training import fine_tuning
from tests.pipeline.small import write_params, write_text_corpus


@pytest.fixture
def params(tmp_path: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Of a corpus in the current folder whose text encoder is to be fine-tuned."""
    monkeypatch.chdir(tmp_path)
    project = Path(cache.__file__).parents[1]
    (tmp_path / "extractors").symlink_to(project / "extractors")
    text = (project / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        # An encoder that is here; and none that is fine-tuned, whose vectors may be anyone's.
        text.replace("model: roberta-large", "model: minilm").replace("finetune: true", "finetune: false")
    )
    write_params(tmp_path / "fine_tuned.yaml", tiny_roberta, crossfit=2)
    return load_params()


@pytest.fixture
def filled(params: Params, tmp_path: Path) -> dict[str, str]:
    """Fingerprints of makers in the work cache: some that `params` can use, some that they cannot."""
    audio = AudioExtractor(params.audio["meld"], tmp_path).identity
    text = TextExtractor(params.text["demo"], tmp_path).identity
    visual = VisualExtractor(params.visual["meld"], tmp_path)
    work = WorkCache(tmp_path / "cache")
    makers: dict[str, dict] = {
        "audio": audio,
        "audio of old code": {**audio, "version": 0},
        "audio of an experiment": {**audio, "set": "ComParE_2016"},
        "text": text,
        "text on a GPU": {**text, "device": "cuda"},
        "text by another encoder": {**text, "encoders": ["0" * 64], "max_tokens": 3},
        "faces": visual.faces_identity,
        "faces of another rate": {**visual.faces_identity, "fps": 1.5},
        "visual": {**visual.identity, "whitening": [100.0, 50.0]},
        "visual of old weights": {**visual.identity, "weights": "0" * 64},
        "inspections": memory_identity(),
    }
    names = {name: work.maker(identity) for name, identity in makers.items()}
    for name in names.values():
        work.put(name, {"a": bytes(50_000)})
    work.put("?", {"a": b"x"})
    work.close()
    return names | {"unknown": "?"}


STAY = {"audio", "text", "text on a GPU", "faces", "visual", "inspections"}


def run(params: Params, *arguments: str) -> None:
    cache.run(cache.arguments().parse_args(list(arguments)), params)


def left(names: dict[str, str], folder: Path) -> set[str]:
    there = {made.fingerprint for made in WorkCache(folder / "cache").contents()}
    return {name for name, fingerprint in names.items() if fingerprint in there}


@pytest.mark.slow
def test_the_list_says_who_uses_what_and_how_makers_differ(
    filled: dict[str, str], params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    run(params)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["entries", "MB", "used", "by", "what"]
    [now] = [line for line in lines if "audio" in line and "set=IS10 " in line and f"version={AUDIO_VERSION}" in line]
    assert all(corpus in now for corpus in params.index)
    [old] = [line for line in lines if "audio" in line and "version=0" in line]
    assert " - " in old
    assert "opensmile=" not in old  # the same in all of them
    assert any("unknown" in line for line in lines)
    [inspections] = [line for line in lines if "inspection of clips av=" in line]
    assert all(corpus in inspections for corpus in params.index)
    assert "of which no current parameters can use 0.3 MB" in lines[-1]


@pytest.mark.slow
def test_prune_deletes_what_no_parameters_can_use_and_nothing_before_it_is_told_to(
    filled: dict[str, str], params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = set(filled)
    size = (tmp_path / "cache/work.sqlite").stat().st_size
    run(params, "--prune", "--dry-run")
    assert "version=0" in capsys.readouterr().out
    with pytest.raises(UserError, match="say --yes"):
        run(params, "--prune")
    assert left(filled, tmp_path) == everything
    experiment = tmp_path / "experiment.yaml"
    of_meld = "  meld:\n    encoder: opensmile\n    set: "
    experiment.write_text(Path("params.yaml").read_text().replace(f"{of_meld}IS10", f"{of_meld}ComParE_2016"))
    run(params, "--prune", "--yes", "--params", str(experiment))
    assert left(filled, tmp_path) == STAY | {"audio of an experiment"}
    run(params, "--prune", "--yes")
    assert left(filled, tmp_path) == STAY
    assert (tmp_path / "cache/work.sqlite").stat().st_size < size
    run(params, "--prune", "--yes")  # nothing to do


def aged(path: Path) -> Path:
    """`path`, last written to a day ago."""
    for file in (path, *path.rglob("*")):
        os.utime(file, (file.stat().st_atime - 86_400, file.stat().st_mtime - 86_400))
    return path


@pytest.mark.slow
def test_results_of_an_encoder_that_may_be_on_another_machine_stay(
    filled: dict[str, str], params: Params, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(Path("params.yaml").read_text().replace("model: minilm", "model: nobody/has-this", 1))
    run(params, "--prune", "--yes", "--params", str(elsewhere))
    assert left(filled, tmp_path) == STAY | {"text by another encoder"}


@pytest.mark.slow
def test_encoders_checkpoints_and_logs_go_unless_they_are_current_or_in_use(
    params: Params, tmp_path: Path, tiny_roberta: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(name: str) -> Path:
        (tmp_path / "cache" / name).mkdir(parents=True)
        (tmp_path / "cache" / name / "weights").write_bytes(bytes(1000))
        return tmp_path / "cache" / name

    rows = write_text_corpus(tmp_path / "data/meld/index.csv")
    tuned = load_params(tmp_path / "fine_tuned.yaml")
    settings = tuned.text["meld"]
    recipe, order = tuned.recipe("meld"), labels("meld", [row.label for row in rows])
    train, validation, _ = fine_tuning.parts_of(rows)
    folds = fine_tuning.folds_of(train, 2, recipe.seed)
    lesson = fine_tuning.training_data(train, validation, order, folds, 1, settings.context)
    published = encoder_folder(str(tiny_roberta))
    name = fingerprint(text_training.identity(published, settings, recipe, *lesson, len(order), device()))
    current, old = aged(make(f"trainings/{name}")), aged(make("trainings/old"))
    running, killed, report = make("trainings/running"), aged(make("trainings/killed")), aged(make("trainings/report"))
    unpacked, in_use = aged(make("bundles/old")), make("bundles/new")
    (report / "about.json").write_text('{"corpus": "iemocap", "model": "sdt"}')
    aged(report)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/params.yaml").write_text("report:\n  corpora: [iemocap]\n")
    shards = [ShardCache(tmp_path / "cache", shard) for shard in ("killed", "running")]
    for shard in shards:
        shard.put("?", {shard.file.name: b"x"})
    aged(shards[0].file)
    run(tuned)
    assert "training of sdt on iemocap" in capsys.readouterr().out
    run(tuned, "--prune", "--yes")
    assert current.exists()
    assert running.exists()
    assert report.exists()
    assert in_use.exists()
    assert not unpacked.exists()
    assert shards[1].file.exists()
    assert not old.exists()
    assert not killed.exists()
    assert not shards[0].file.exists()
    run(params, "--prune", "--yes")  # which fine-tune nothing
    assert not current.exists()


@pytest.mark.slow
def test_the_encoder_that_the_report_compares_with_stays(params: Params, tmp_path: Path) -> None:
    write_text_corpus(tmp_path / "data/meld/index.csv")
    text = {**params.text, "meld": params.text["meld"].model_copy(update={"finetune": True})}
    [name] = cache.fine_tunings("meld", params.model_copy(update={"text": text}))
    encoder = tmp_path / "cache/trainings" / name
    encoder.mkdir(parents=True)
    (encoder / "model.safetensors").write_bytes(bytes(1000))
    aged(encoder)
    features = tmp_path / "paper/features/meld/text.safetensors"
    features.parent.mkdir(parents=True)
    features.touch()
    run(params, "--prune", "--yes")
    assert encoder.is_dir()
    features.unlink()
    run(params, "--prune", "--yes")
    assert not encoder.is_dir()
