"""Tiny encoders made on the spot, in the layout of roberta-large's folder, and settings for them."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedModel, RobertaConfig, RobertaModel, RobertaTokenizerFast

from extractors.settings import TextSettings
from extractors.text.window import Window

LINES = ["Oh, that's wonderful news!", "No.", "I can't believe you ate the whole cake, again, without telling anyone."]
RECIPE = {
    "learning_rate": 1e-3, "warmup": 0.1, "decay": 1.0, "epochs": 3, "patience": 3, "batch": 4, "accumulation": 2,
    "dropout": 0.1, "weight_decay": 0.01, "seed": 0,
}  # fmt: skip


CODE = """
from pathlib import Path
from transformers import RobertaConfig, RobertaModel

Path({mark!r}).touch()


class Mine(RobertaConfig):
    model_type = {kind!r}


class MyModel(RobertaModel):
    config_class = Mine
"""
"""What a folder of the hub may bring; transformers runs it if it is told to."""


def write_roberta(folder: Path, layers: int = 4, dropout: float = 0.1, seed: int = 0) -> Path:
    """A byte-level BPE tokenizer of few merges and a random RoBERTa, 32 wide, that reads 38 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(LINES * 3, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    bpe.save_model(str(folder))
    RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=bpe.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def write_foreign(folder: Path, mark: Path, kind: str = "mine", tokenizer: bool = False) -> Path:
    """An encoder whose folder brings code that touches `mark`; `kind` is a model that transformers knows, or not."""
    write_roberta(folder)
    (folder / "mine.py").write_text(CODE.format(mark=str(mark), kind=kind))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": kind, "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.MyModel"}}
    config["_name_or_path"] = "somebody/else"
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer:
        card = json.loads((folder / "tokenizer_config.json").read_text())
        card |= {
            "tokenizer_class": "MyTokenizer",
            "auto_map": {"AutoTokenizer": ["mine.MyTokenizer", "mine.MyTokenizer"]},
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(card))
    return folder


def write_network(folder: Path, tokenizer: Path, network: PreTrainedModel) -> Path:
    """Another network, of the vocabulary of `write_roberta`, with that encoder's tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*tokenizer.glob("tokenizer*.json"), *tokenizer.glob("*.txt"), tokenizer / "vocab.json"):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    network.save_pretrained(folder)
    return folder


def alone(texts: list[str]) -> list[Window]:
    """Utterances that are read without the turns around them."""
    return [Window(text) for text in texts]


def text_settings(model: Path | str, **changes: object) -> TextSettings:
    """Settings of the section text for `model`, with `changes`."""
    usual = {"pooling": "auto", "layers": "last", "max_tokens": 64, "finetune": False, "crossfit": 1}
    return TextSettings.model_validate({"model": str(model), **usual, "recipe": "auto", **changes})
