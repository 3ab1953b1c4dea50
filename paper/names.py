"""Names of the models, as in their publications."""

NAMES = {
    "cmath": "CMATH", "sdt": "SDT", "dialogue_rnn": "DialogueRNN", "dialogue_gcn": "DialogueGCN", "mmgcn": "MMGCN",
    "ctnet": "CTNet", "mm_dfn": "MM-DFN", "scmm": "SCMM", "cmcf_srnet": "CMCF-SRNet", "multidag": "MultiDAG",
    "adaign": "AdaIGN",
}  # fmt: skip
