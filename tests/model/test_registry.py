"""Names, settings and model files: what params.yaml says is the model that is trained and the one that is read back."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file

from model.batching import Corpus
from model.interface import DataSpec
from model.registry import MODELS, make_model
from model.scaling import Scaler
from model.training import predict
from pipeline.bundle import TEST_PREDICTIONS, Bundle, read_bundle, write_bundle
from pipeline.corpora.labels import MELD
from pipeline.evaluate import predict_seed
from pipeline.params import Baselines, ModelName, load_params
from pipeline.training.store import model_config
from tests.model.dialogues import DIMS, random_corpus
from tests.model.networks import SMALL, network
from tests.pipeline.calibrated import uncalibrated

PROJECT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def corpus() -> Corpus:
    return random_corpus([4, 2, 1])


def test_the_names_of_params_are_those_of_the_registry() -> None:
    assert get_args(ModelName) == tuple(MODELS) == tuple(Baselines.model_fields)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "cmath"])
def test_every_setting_is_a_value_of_params_yaml(name: str) -> None:
    settings = load_params(PROJECT / "params.yaml").baselines[name].model_dump()
    # `context` is in `model`, for all models that have it.
    own = set(MODELS[name][1].model_fields) - set(DataSpec.model_fields) - {"context"}
    assert set(settings) == own
    for modality, weight in settings.get("speaker_weights", {}).items():
        assert modality in DIMS
        assert weight >= 0


@pytest.mark.parametrize("name", list(MODELS))
def test_params_make_every_model(name: str, corpus: Corpus) -> None:
    params = load_params(PROJECT / "params.yaml")
    chosen = params.model_copy(update={"model": params.model.model_copy(update={"name": name})})
    model = make_model(name, model_config(chosen, "demo", corpus, MELD))
    assert type(model) is MODELS[name][0]
    assert predict(model, corpus, "test", CPU)[0].shape == (7, len(MELD))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_file_gives_back_the_model_that_was_written(name: str, corpus: Corpus, tmp_path: Path) -> None:
    # CMATH's sigmoid gate joins the modalities in their order, as several baselines do.
    own = SMALL[name] | ({"gate": "sigmoid"} if name == "cmath" else {})
    model = network(name, **own)
    config = {"dims": DIMS, "speakers": 3, "classes": 4, "dropout": 0.1} | own
    scalers = {modality: Scaler(torch.zeros(width), torch.ones(width)) for modality, width in DIMS.items()}
    bundle = Bundle(corpus="demo", labels=("a", "b", "c", "d"), model=name, config=config, seeds=[5], turns=4,
                    calibration=uncalibrated([5], 4), origins={modality: {} for modality in DIMS}, synthetic=True,
                    text_encoder="", audio_encoder="", visual_encoder="",
                    fine_tuned=False, scalers=scalers, reduction={}, folder=tmp_path / "bundle")  # fmt: skip
    write_bundle(bundle, {5: model.state_dict()}, tmp_path, "")
    save_file({"seed5": torch.zeros(1, 7, dtype=torch.int8)}, tmp_path / TEST_PREDICTIONS)
    expected = predict(model, corpus, "test", CPU)[0].double().softmax(1).numpy()
    assert (predict_seed(read_bundle(tmp_path), 5, corpus).answer.raw == expected).all()
