"""The estimate of the whole report, on small models."""

import re
from pathlib import Path

import pytest
import torch

from paper import estimate, plan
from pipeline.params import load_params
from tests.paper.small import write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


def test_it_counts_the_trainings_of_the_plan_and_knows_when_a_gpu_would_only_wait_for_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path, models=["cmath", "ctnet"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper/published.yaml").write_bytes((Path(estimate.__file__).parent / "published.yaml").read_bytes())

    def said(*options: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["estimate", *options])
        estimate.main()
        return capsys.readouterr().out.splitlines()

    def minutes(line: str) -> float:
        [time] = re.findall(r": ([0-9.]+ (?:s|min|h))(?=,)", line)
        return total(time)

    def total(time: str) -> float:
        number, unit = time.split()
        return float(number) * {"s": 1 / 60, "min": 1, "h": 60}[unit]

    usual, slow = said(), said("--launch", "100")
    assert [line.partition(":")[0] for line in usual] == ["meld, cmath", "meld, ctnet", "meld, studies", "meld"]
    assert minutes(slow[0]) == pytest.approx(10 * minutes(usual[0]), rel=0.05)  # small models only wait
    busy = said("--teraflops", "0.001", "--launch", "0")
    assert minutes(said("--teraflops", "0.001", "--launch", "0", "--share", "0.03")[0]) == pytest.approx(
        10 * minutes(busy[0]), rel=0.05
    )
    write_features_of_meld(tmp_path)
    plan.main()
    planned = re.findall(r"meld, (?:ablations|modalities|widths|gammas): (\d+) trainings", capsys.readouterr().out)
    own = 2  # of the widths one is the comparison's
    [[alone, together]] = re.findall(r"about ([0-9.]+ \w+) of training at most, ([0-9.]+ \w+) on 4 GPUs", usual[3])
    assert alone == re.findall(r"about ([0-9.]+ \w+) of", said("--cards", "2")[3])[0]
    assert total(together) == pytest.approx(total(alone) / 4, rel=0.1)
    # A hundred GPUs do not shorten the longest chain: CMATH's two points of two epochs, a training, and a study's.
    [endless] = re.findall(r", ([0-9.]+ \w+) on 100 GPUs", said("--cards", "100")[3])
    of_cmath = minutes(usual[0]) / (2 * 2 + 2 * 4) * (2 * 2 + 4 + 4)
    assert total(endless) == pytest.approx(of_cmath, rel=0.1)
    assert f"meld, studies: {sum(map(int, planned)) - own} trainings of CMATH" in usual[2]


def test_a_corpus_with_another_name_is_the_papers_with_the_modalities_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path, models=["ctnet"], corpora=["iemocap_sdt"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper/published.yaml").write_bytes((Path(estimate.__file__).parent / "published.yaml").read_bytes())
    monkeypatch.setattr("sys.argv", ["estimate"])

    def said(**index: list[str]) -> list[str]:
        params = load_params()
        both = params.index["iemocap_sdt"].model_copy(update=index)
        changed = params.model_copy(update={"index": {**params.index, "iemocap_sdt": both}})
        monkeypatch.setattr(estimate, "load_params", lambda: changed)
        estimate.main()
        return capsys.readouterr().out.splitlines()

    assert said() == ["iemocap_sdt: the paper does not have it: nothing to go by"]
    write_params(tmp_path, models=["ctnet"], corpora=["iemocap_sdt"], published={"iemocap_sdt": "iemocap"})
    whole, text = said(modalities=["text", "audio", "visual"]), said(modalities=["text"])
    # 120 dialogues of train and validation, of which a fifth is held out, in batches of 16 (train.iemocap_sdt).
    assert re.findall(r"(\d+) steps an epoch", whole[0]) == re.findall(r"(\d+) steps an epoch", text[0]) == ["6"]
    millions = [float(re.findall(r": ([0-9.]+) M parameters", lines[0])[0]) for lines in (whole, text)]
    assert millions[0] > millions[1]
    trainings = [int(re.findall(r"studies: (\d+) trainings", lines[1])[0]) for lines in (whole, text)]
    assert trainings[0] > trainings[1]  # with text alone there is no study of modality sets


def test_views_and_allocations_are_no_kernels() -> None:
    x, bias = torch.ones(4, 6), torch.ones(3)
    with estimate.Kernels() as made:
        x.view(6, 4).t()[1:].detach().unsqueeze(0)
        torch.empty(3)
        x.new_empty(2)
    assert made.number == 0
    with estimate.Kernels() as made:
        (x.view(8, 3) + bias).relu().sum()
    assert made.number == 3


def test_features_are_as_wide_as_their_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, config in (("wavlm", '{"hidden_size": 768}'), ("whisper", '{"d_model": 1280}'),
                         ("clip", '{"projection_dim": 768, "hidden_size": 9, "vision_config": {"hidden_size": 1024}}'),
                         ("siglip", '{"hidden_size": 9, "vision_config": {"hidden_size": 1152}}')):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    assert estimate.width("wavlm", "mean") == 768
    assert estimate.width("whisper", "mean_std") == 2560
    assert estimate.width("clip", "mean") == 768
    assert estimate.width("siglip", "mean") == 1152
    assert estimate.width("denseface", "mean_std") == 684
    assert estimate.width("somebody/large", "mean") == 1024  # which is not here
    project = Path(estimate.__file__).parents[1]
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/published.yaml").write_bytes((project / "paper/published.yaml").read_bytes())
    params = load_params(project / "params.yaml")
    whole = params.audio["meld"].model_copy(update={"set": "IS10", "reduce": "none"})
    reduced = whole.model_copy(update={"reduce": "pca", "dim": 300})
    audio = whole.model_copy(update={"encoder": "wavlm"})
    narrow = audio.model_copy(update={"reduce": "pca", "dim": 1000})
    for settings, expected in ((whole, 1582), (reduced, 300), (audio, 768), (narrow, 768)):
        changed = params.model_copy(update={"audio": {**params.audio, "meld": settings}})
        assert estimate.form("meld", changed, "meld")["dims"]["audio"] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--cards", "0"], "--cards: 0: must be at least 1"), (["--share", "1.5"], "--share: 1.5: must be at most 1"),
     (["--share", "0"], "--share: 0: must be above 0"), (["--launch", "-3"], "-3: must be a number of at least 0"),
     (["--teraflops", "nan"], "--teraflops: nan: must be a number of at least 0")],
)  # fmt: skip
def test_numbers_that_no_machine_has_are_refused(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["estimate", *options])
    with pytest.raises(SystemExit):
        estimate.main()
    assert message in capsys.readouterr().err
