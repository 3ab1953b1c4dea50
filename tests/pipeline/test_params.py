"""params.yaml and its schema: what is refused, and in which words."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from pipeline.corpora.settings import IndexSettings
from pipeline.params import ParamsError, load_params

PROJECT = Path(__file__).parents[2]


def changed(tmp_path: Path, key: str, value: object) -> Path:
    """The project's params.yaml with one value changed or added."""
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    section[last] = value
    file = tmp_path / "params.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(ParamsError) as caught:
        load_params(file)
    return str(caught.value)


def test_the_projects_own_file_is_valid_and_has_the_papers_values() -> None:
    params = load_params(PROJECT / "params.yaml")
    assert params.datasets == ["demo"]
    assert (params.train["iemocap"].learning_rate, params.train["meld"].learning_rate) == (3e-3, 2e-4)
    assert (params.train["iemocap"].batch, params.train["meld"].batch) == (16, 4)
    assert params.train["iemocap"].gamma2 == 1.8
    assert params.train["meld"].gamma2 == 1.2
    assert params.model.dim == 200
    iemocap, meld = params.recipe("iemocap"), params.recipe("meld")
    assert (iemocap.learning_rate, meld.learning_rate) == (1e-6, 1e-5)
    assert (iemocap.dropout, meld.dropout) == (0.2, 0.1)
    assert {recipe.batch * recipe.accumulation for recipe in params.recipes.values()} == {32}
    assert params.recipe("demo") == params.recipes["minilm"]  # by `auto`, for minilm
    assert (params.audio["iemocap"].set, params.audio["iemocap"].reduce) == ("IS10", "none")
    assert (params.audio["meld"].set, params.audio["meld"].reduce) == ("IS10", "none")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model.dim", "abc", "model.dim = 'abc': must be a valid integer"),
        ("model.dim", 500.0, "model.dim = 500.0: must be a valid integer"),
        ("model.kernel", 2, "model.kernel = 2: must be odd"),
        ("model.dropuot", 0.5, "model.dropuot = 0.5: there is no such key"),
        ("model.dropout", 1.0, "model.dropout = 1.0: must be less than 1"),
        ("datasets", ["friends"], "datasets.0 = 'friends': must be a corpus of index: "),
        ("datasets", ["meld", "meld"], "datasets = ['meld', 'meld']: must not name anything twice"),
        ("datasets", [], "datasets = []"),
        ("train.demo.seeds", [1, 1], "train.demo.seeds = [1, 1]: must not name anything twice"),
        ("train.meld.learning_rate", "1e-3", "train.meld.learning_rate = '1e-3': must be a valid number"),
        ("index.meld.modalities", ["smell"], "index.meld.modalities.0 = 'smell'"),
        ("audio.demo.min_seconds", float("nan"), "audio.demo.min_seconds"),
        ("model.name", "bert", "model.name = 'bert': must be 'cmath', 'sdt', 'dialogue_rnn'"),
        ("baselines.sdt.heads", 5, "baselines.sdt.dim = 1024: must be a multiple of heads = 5"),
        ("baselines.mmgcn.loss", "hinge", "baselines.mmgcn.loss = 'hinge'"),
        ("baselines.cmath", {"dim": 300}, "baselines.cmath.dim = 300: there is no such key"),
        ("baselines.mm_dfn.speaker_weights.smell", 1.0, "baselines.mm_dfn.speaker_weights.smell = 1.0: there is no"),
        ("visual.meld.crop", "frame", "visual.meld.crop = 'frame': must be face for denseface, which sees nothing"),
        ("audio.meld.set", "IS09", "audio.meld.set = 'IS09': must be 'IS10', 'IS13', 'ComParE_2016' or"),
        ("text.meld.crossfit", 5, "text.meld.crossfit = 5: must be 1 unless finetune is true"),
        ("recipes.minilm.rate", 1.0, "recipes.minilm.rate = 1.0: there is no such key"),
        ("text.meld.recipe", "large", "text.meld.recipe = 'large': must be auto, or one of recipes: minilm, roberta, "),
        (
            "text.meld.model",
            "tae898/emoberta-large",
            "text.meld.model = 'tae898/emoberta-large': has seen labels of the corpus: the split in its repository "
            "puts 249 of MELD's 280 test dialogues and 23 of IEMOCAP's 31 into train",
        ),
        (
            "text.iemocap.model",
            "corpora/encoders/emoberta-base",
            "`-S +text.iemocap.allow_seen=true`, which marks every",
        ),
        ("text.meld.model", "j-hartmann/emotion-english-distilroberta-base", "MELD is among its training data"),
        ("text.meld_sdt.model", "emotion2vec/emotion2vec_plus_large", "was fine-tuned on EmoBox"),
        ("watch", ["meld"], "watch = ['meld']: must name corpora of datasets, which lacks meld"),
        (
            "index.meld.reader",
            "melt",
            "index.meld.reader = 'melt': must be demo, meld, iemocap, table, features or ass",
        ),
        ("index.meld.validation", "random20", "index.meld.validation = 'random20': there is no such key"),
        ("index.iemocap.validation", "last", "index.iemocap.validation = 'last': must be 'random20', 'cosmic12' or"),
        (
            "index.meld",
            {"raw": "x"},
            "index.meld.reader is missing: it must be demo, meld, iemocap, table, features or",
        ),
        ("index.meld", None, "index.meld = None: must be a section with keys of its own"),
        ("index.pilot", {"reader": "table", "raw": "x"}, "text.pilot is missing: index has the corpus pilot. Copy the"),
        ("train.pilot", {}, "train.pilot = '...': belongs to no corpus: `index` has no entry of this name"),
        ("text.meld", None, "text.meld = None: must be a section with keys of its own (`{}` takes all defaults)"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(tmp_path: Path, key: str, value: object, said: str) -> None:
    message = refusal(changed(tmp_path, key, value))
    assert said in message
    assert message.startswith(str(tmp_path / "params.yaml"))
    assert len(message.splitlines()) == 1


def test_every_reader_is_named_where_one_is_wrong_and_long_values_are_shortened(tmp_path: Path) -> None:
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["index"]["meld"]["reader"] = "m" * 100_000
    content["k" * 100_000] = 1
    file = tmp_path / "params.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    first, second = refusal(file).splitlines()
    assert first.startswith(f"{file}: index.meld.reader = '{'m' * 199}…: must be ")
    assert second == f"{file}: {'k' * 200}… = 1: there is no such key"
    readers = {get_args(one.model_fields["reader"].annotation)[0] for one in get_args(get_args(IndexSettings)[0])}
    assert set(re.findall(r"\w+", first.partition("must be ")[2])) - {"or"} == readers


def test_a_reduction_has_no_more_columns_than_the_set(tmp_path: Path) -> None:
    reduced = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())["audio"]["meld"] | {"reduce": "pca"}
    message = refusal(changed(tmp_path, "audio.meld", reduced | {"dim": 1583}))
    assert "audio.meld.dim = 1583: must be at most 1582, the width of IS10" in message
    assert load_params(changed(tmp_path, "audio.meld", reduced | {"dim": 1582}))


def test_an_encoder_that_has_seen_labels_is_taken_where_that_is_allowed_or_the_corpus_is_another(
    tmp_path: Path,
) -> None:
    allowed = {"model": "tae898/emoberta-large", "allow_seen": True}
    assert load_params(changed(tmp_path, "text.meld", allowed)).text["meld"].allow_seen
    assert load_params(changed(tmp_path, "text.custom.model", "tae898/emoberta-large"))
    assert load_params(changed(tmp_path, "text.iemocap.model", "j-hartmann/emotion-english-distilroberta-base"))
    assert load_params(changed(tmp_path, "text.meld.model", "emotion2vec/emotion2vec_base"))


@pytest.mark.parametrize("name", ["my-corpus", "a.b", "1st", "größe", ""])
def test_a_corpus_has_a_name_that_every_command_takes(tmp_path: Path, name: str) -> None:
    message = refusal(with_corpus(tmp_path, name))
    assert "must be a name of at most 100 letters, digits and underscores that begins with a letter" in message


@pytest.mark.parametrize("name", ["size", "nfiles", "item", "key"])
def test_a_corpus_has_no_name_that_dvc_keeps_for_itself(tmp_path: Path, name: str) -> None:
    assert refusal(with_corpus(tmp_path, name)).endswith("is a name that DVC keeps for itself: take another")


def test_a_corpus_of_any_name_needs_no_more_than_a_reader_and_a_folder(tmp_path: Path) -> None:
    params = load_params(with_corpus(tmp_path, "friends_pilot"))
    shipped = load_params(PROJECT / "params.yaml")
    assert params.index["friends_pilot"].modalities == ["text", "audio", "visual"]
    assert params.index["friends_pilot"].max_problem_share == 0.2
    assert params.train["friends_pilot"] == shipped.train["custom"]
    assert params.visual["friends_pilot"] == shipped.visual["custom"]
    assert params.audio["friends_pilot"] == shipped.audio["custom"]
    assert params.text["friends_pilot"] == shipped.text["meld"]


def with_corpus(folder: Path, name: str) -> Path:
    """params.yaml with a corpus `name` more, of which everything is left out that can be."""
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["index"][name] = {"reader": "table", "raw": "x"}
    for section in ("text", "audio", "visual", "train"):
        content[section][name] = {}
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return folder / "params.yaml"


def test_width_and_heads_that_do_not_divide_are_refused_together(tmp_path: Path) -> None:
    content = (PROJECT / "params.yaml").read_text().replace("dim: 200", "dim: 500").replace("heads: 10", "heads: 8")
    file = tmp_path / "params.yaml"
    file.write_text(content)
    assert refusal(file) == f"{file}: model.dim = 500: must be a multiple of model.heads = 8"


def test_an_ablation_of_cmath_is_refused_with_a_baseline(tmp_path: Path) -> None:
    content = (PROJECT / "params.yaml").read_text().replace("name: cmath", "name: mmgcn").replace(
        "ablate: none", "ablate: mr"
    )  # fmt: skip
    file = tmp_path / "params.yaml"
    file.write_text(content)
    assert refusal(file) == f"{file}: model.ablate = 'mr': ablates CMATH, and model.name is mmgcn: set it to none"


def test_a_model_that_looks_at_the_whole_dialogue_is_refused_with_past(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    content = (PROJECT / "params.yaml").read_text().replace("context: whole ", "context: past  ")
    for name in ("mmgcn", "mm_dfn", "adaign"):
        file.write_text(content.replace("name: cmath", f"name: {name}"))
        assert refusal(file) == (
            f"{file}: model.context = 'past': {name} has no form in which a turn sees no later one: use whole, or as "
            "model.name one of cmath, sdt, dialogue_rnn, dialogue_gcn, ctnet, scmm, cmcf_srnet, multidag"
        )
    for name in ("cmath", "sdt", "dialogue_rnn", "dialogue_gcn", "ctnet", "scmm", "cmcf_srnet", "multidag"):
        file.write_text(content.replace("name: cmath", f"name: {name}"))
        assert load_params(file).model.context == "past"


def test_text_that_was_read_with_later_turns_is_refused_with_past(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    content = (PROJECT / "params.yaml").read_text().replace("context: whole ", "context: past  ")
    file.write_text(content.replace("      future: 0\n", "      future: 2\n", 1))
    assert refusal(file) == (f"{file}: text.demo.context.future = 2: must be 0 with model.context = past: these "
                             "features are made of later turns")  # fmt: skip
    file.write_text(content.replace("datasets:\n- demo", "datasets:\n- meld").replace("future: 0\n", "future: 2\n", 1))
    assert load_params(file).text["demo"].context.future == 2  # which is not processed


def test_every_width_of_figure_4_divides_by_the_default_heads() -> None:
    heads = load_params(PROJECT / "params.yaml").model.heads
    assert all(width % heads == 0 for width in range(100, 601, 100))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text((PROJECT / "params.yaml").read_text().replace("  dropout: 0.5", "  # dropout", 1))
    assert refusal(file) == f"{file}: model.dropout is missing"


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("index: [")
    assert "is not YAML" in refusal(tmp_path / "params.yaml")


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("# no\n", "is empty"), ("- 1\n", r"holds \[1\]")])
def test_a_file_without_sections_is_said_to_be_so(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=rf"/params\.yaml: {said}, and not the sections; `git checkout HEAD -- "):
        load_params(tmp_path / "params.yaml")


def test_no_key_has_a_name_that_dvc_drops_or_takes_for_its_own() -> None:
    # DVC's run cache forgets `size` and `nfiles` at any depth, and would give back results of another value.
    def keys(section: object) -> set[str]:
        if not isinstance(section, dict):
            return set()
        return set(section).union(*(keys(value) for value in section.values()))

    found = keys(YAML(typ="safe").load((PROJECT / "params.yaml").read_text()))
    assert "dim" in found
    assert not found & {"size", "nfiles", "item", "key"}


def test_params_are_read_as_dvc_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    text = (PROJECT / "params.yaml").read_text()
    file.write_text(text.replace("weight_decay: 0.00001", "weight_decay: 1e-05"))
    assert load_params(file).train["meld"].weight_decay == 1e-5


def test_the_file_has_the_form_in_which_dvc_writes_it(tmp_path: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    text = (PROJECT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    file.write_text(text)
    apply_overrides(file, ["model.dim=200"])  # as `-S` does
    assert file.read_text() == text
    apply_overrides(file, ["model.dim=500", "datasets=[meld,demo]", "train.demo.seeds=[7]"])
    before, after = text.splitlines(), file.read_text().splitlines()
    removed = ["- demo", "  dim: 200 ", "    - 0", "    - 1", "    - 2"]
    gone = list((Counter(before) - Counter(after)).elements())
    assert sorted(line[:11] for line in gone) == sorted(line[:11] for line in removed if line != "- demo")
    new = (Counter(after) - Counter(before)).elements()
    assert sorted(line[:11] for line in new) == ["    - 7", "  dim: 500 ", "- meld"]


@pytest.mark.parametrize(
    "module", ["pipeline.params", "pipeline.preflight", "pipeline.check", "pipeline.raw", "pipeline.finetune_text"]
)
def test_light_modules_import_no_heavy_library(module: str) -> None:
    heavy = ["torch", "transformers", "cv2", "av", "opensmile", "sklearn", "librosa", "matplotlib"]
    code = f"import sys, {module}; print(*set({heavy}) & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_stage_refuses_before_a_heavy_import_and_without_a_traceback(tmp_path: Path) -> None:
    changed(tmp_path, "model.heads", 7)
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline.raw", "demo"], cwd=tmp_path, text=True,
        capture_output=True, env={"PYTHONPATH": str(PROJECT), "PATH": ""}, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "error: params.yaml: model.dim = 200: must be a multiple of model.heads = 7" in found.stderr
    assert "Traceback" not in found.stderr
    assert not any(line.endswith((" torch", " numpy")) for line in found.stderr.splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "line 1: is nested more than 20 levels deep"),
        ("\n".join("  " * depth + "a:" for depth in range(40)), "line 21: is nested more than 20 levels deep"),
        ("a: &one [1]\nb: *one\n", "line 2: *one repeats another part; write the values out"),
        ("a: &one [*one]\n", "line 1: *one repeats another part"),
        ("datasets: !!python/object:os.system [ls]\n", "line 1: "),
        ("datasets: !mine demo\n", "line 1: !mine is a tag; leave it out"),
        ("datasets: 2024-13-45\n", "params.yaml: "),
        ("datasets: " + "9" * 5000 + "\n", "params.yaml: "),
        ("a: [1\n", "is not YAML: "),
        ("a: 1\na: 2\n", "is not YAML: "),
        ("\x00", "is not YAML: "),
        ("", "is empty, and not the sections"),
        ("datasets: 2024-01-02\n", "params.yaml: datasets = "),
        ("a" * (2**20 + 1), "has more than 1 MiB: too much for such a file"),
    ],
)
def test_what_is_no_plain_yaml_of_a_sensible_size_is_refused_in_lines(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    told = refusal(file)
    assert said in told
    assert all(line.startswith(str(file)) for line in told.splitlines())
    assert max(map(len, told.splitlines())) < 500


def test_a_folder_or_bytes_in_the_place_of_the_file_are_refused(tmp_path: Path) -> None:
    assert "is a folder; give a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is a pipe or a device and no file" in refusal(tmp_path / "pipe.yaml")
    assert "cannot be read (File name too long); run this from the project's root" in refusal(tmp_path / ("a" * 300))
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00a")
    assert "is not YAML" in refusal(tmp_path / "params.yaml")
