"""AdaIGN: two streams on MM-DFN's kind of graph, one on the whole graph and one on a graph thinned by learned policies.

Source: Tu et al., "Adaptive Graph Learning for Multimodal Conversational Emotion Detection", AAAI 2024. The authors'
code was public for some time. The graph and the two streams follow it. **The policies are our interpretation**: in that
code they were free parameter tables indexed by the position in the batch, which did not depend on the input; they were
sampled on test too, and the best of several samples was reported.

    x_t = BiGRU(Linear(LN(Linear(t))));  x_a, x_v = Linear(Linear(.))                200 wide; each stream has its own
    graph : `model.baselines.modality_graph`, but inside a modality only edges with j <= i: no future utterance is used
    node policy   k_i^m ~ softmax(MLP(x_i^m)): the node's features are kept (1) or set to zero (0)
    edge policy   e_i^m ~ softmax(MLP(x_i^m)): i has edges from its own speaker's utterances (1) or the others' (0)
    GCNII_l, l = 1 .. 16, 100 wide, alpha 0.2, lambda 0.5, S = r:  F1 on the whole graph, F2 on the thinned one
    F   = [0.1 h_a ; 0.1 h_v ; 0.8 h_t];  g = sigmoid(Linear(mean of [F1 ; F2] over the dialogue))
    z   = g F1 + (1 - g) F2
    logits = Linear(relu(drop [z ; 0.1 x_a ; 0.1 x_v ; 0.8 x_t]))

The policies are straight-through Gumbel samples in training, and the most probable choice in evaluation. One optimiser
trains network and policies together. The loss has two more terms: `keep`, the squared difference between each
modality's mean probability of being kept and its target (0.8 for audio and visual, 1 for text), and `intra`, the mean
probability of choosing the *other* speakers' edges. A node always keeps the edge to itself, because its degree must not
be zero.

Only the graph is causal: the text GRU and the speaker GRU are bidirectional, and g averages over the whole dialogue.

Published: Adam 3e-4 (MELD 1e-3), l2 1e-4 (5e-4), 60 epochs, batch 32, focal loss with gamma 0.5 (1), class weights on
IEMOCAP, 16 layers (32), temperature 5 falling by 3.5 % per epoch, MM-DFN's speaker context on MELD only with weights
0.5, 0.5 and 1.5; text is the mean of four RoBERTa layers there, and the features that we extract here. Not adopted: the
alternating training of network and policies, and the "pseudo labels" of seven probe models that were chosen on test.
"""

import torch
from torch import Tensor, nn

from model.baselines.early_fusion import masked_features, usable
from model.baselines.focal import focal
from model.baselines.modality_graph import DeepConvolution, modality_graph, read_out
from model.baselines.recurrent import Bidirectional, PartyContext
from model.baselines.selection import select
from model.baselines.settings import AdaignSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import masked_mean

KEEP_TARGET = {"text": 1.0, "audio": 0.8, "visual": 0.8}
READ_OUT = {"text": 0.8, "audio": 0.1, "visual": 0.1}


class AdaignConfig(AdaignSettings, DataSpec):
    """Configuration of the network and its loss."""


class Encoder(nn.Module):
    """Encoder from features to nodes [M, B, T, dim].

    The GRU over each speaker's utterances is built only if some entry of `speaker_weights` is not 0.
    """

    weights: Tensor

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        self.project = nn.ModuleDict()
        for name, width in config.dims.items():
            inner = config.graph_dim if name == "text" else width
            norm = nn.LayerNorm(inner) if name == "text" else nn.Identity()
            self.project[name] = nn.Sequential(nn.Linear(width, inner), norm, nn.Linear(inner, config.dim))
        if "text" in config.dims:
            self.sequence = Bidirectional(nn.GRU, config.dim, config.dim // 2, 2, config.dropout)
        weights = [getattr(config.speaker_weights, name) for name in config.dims]
        self.party = PartyContext(config.dim, 2, config.dropout) if any(weights) else None
        self.register_buffer("weights", torch.tensor(weights).view(-1, 1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        x = {name: self.project[name](values) for name, values in masked_features(batch).items()}
        projected = torch.stack(list(x.values()))
        if "text" in x:
            x["text"] = self.sequence(x["text"], batch.lengths())
        nodes = torch.stack(list(x.values()))
        if self.party is not None:
            nodes = nodes + self.weights * self.party(projected, batch.who)
        return nodes


class Policy(nn.Module):
    """Binary choice for every node, made from its features by one network per modality."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.score = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, 2)) for name in names}
        )

    def forward(self, x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Nodes [M, B, T, d] -> choices (0 or 1) and probabilities of yes, both [M, B, T]."""
        logits = torch.stack([score(values) for score, values in zip(self.score.values(), x, strict=True)])
        return select(logits, temperature, self.training)[..., 0], logits.float().softmax(-1)[..., 0]


def thinned(own: Tensor, speaker: Tensor) -> Tensor:
    """Factor (0 or 1) [M, B, T, T] on the edges inside a modality, from the edge policy's choices [M, B, T]."""
    same = (speaker.unsqueeze(2) == speaker.unsqueeze(1)).float()
    itself = torch.eye(speaker.shape[1], device=speaker.device)
    own = own.unsqueeze(-1)
    return itself + (1 - itself) * (own * same + (1 - own) * (1 - same))


class GraphStack(nn.Module):
    """Graph convolutions of one stream."""

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.dim, config.graph_dim)
        self.layers = nn.ModuleList(
            DeepConvolution(config.graph_dim, layer, config.alpha, config.decay, join=False)
            for layer in range(1, config.layers + 1)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, nodes: Tensor, edges: Tensor) -> Tensor:
        """Nodes [M, B, T, dim] and a factor on the edges inside a modality -> [M, B, T, graph_dim]."""
        graph = modality_graph(x, nodes, edges)
        h = h0 = torch.relu(self.enter(self.dropout(x)))
        for layer in self.layers:
            h = layer(graph.propagate(self.dropout(h)), h0)
        return h


class Adaign(ErcModel):
    """The whole model: two streams, policies, gate, classifier."""

    reimplementation = True
    share: Tensor
    """Factor on each modality's node features before the gate and the classifier, [M, 1, 1, 1]."""
    target: Tensor
    """Target for the mean probability that a node of each modality is kept, [M]."""

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        self.config = config
        names = list(config.dims)
        self.temperature = config.temperature
        self.whole_encoder, self.thin_encoder = Encoder(config), Encoder(config)
        self.whole, self.thin = GraphStack(config), GraphStack(config)
        self.node_policy, self.edge_policy = Policy(names, config.dim), Policy(names, config.dim)
        width = len(names) * config.graph_dim
        self.gate = nn.Linear(2 * width, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width + len(names) * config.dim, config.classes)
        share, target = ([table[name] for name in names] for table in (READ_OUT, KEEP_TARGET))
        self.register_buffer("share", torch.tensor(share).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("target", torch.tensor(target), persistent=False)
        self.loss_weights = {"focal": 1.0, "keep": config.keep_weight, "intra": config.intra_weight}

    def begin_epoch(self, epoch: int) -> None:
        """Lower the temperature of the Gumbel samples by 3.5 % per epoch."""
        self.temperature = self.config.temperature * 0.965 ** (epoch - 1)

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the losses by name."""
        nodes, mask = usable(batch), batch.mask
        past = torch.ones(mask.shape[1], mask.shape[1], device=mask.device).tril()
        x = self.whole_encoder(batch)
        whole = read_out([self.share * self.whole(x, nodes, past)], nodes)

        candidates = self.thin_encoder(batch)
        keep, keep_chance = self.node_policy(candidates, self.temperature)
        own, own_chance = self.edge_policy(candidates, self.temperature)
        kept = candidates * keep.unsqueeze(-1)
        thin = read_out([self.share * self.thin(kept, nodes, past * thinned(own, batch.speaker))], nodes)

        mean = (torch.cat([whole, thin], dim=-1) * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        g = torch.sigmoid(self.gate(mean)).unsqueeze(1)
        z = torch.cat([g * whole + (1 - g) * thin, read_out([self.share * x], nodes)], dim=-1)
        representation = torch.relu(self.dropout(z))
        logits = self.classifier(representation)
        rate = torch.stack([masked_mean(*pair) for pair in zip(keep_chance, nodes, strict=True)])
        losses = {
            "focal": focal(logits, batch.label, mask, self.config.focal_gamma, class_weights),
            "keep": (rate - self.target).square().sum(),
            "intra": masked_mean(1 - own_chance, nodes),
        }
        return Output(logits, losses, representation)
