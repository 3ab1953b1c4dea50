"""AdaIGN: two streams on MM-DFN's kind of graph, one on the whole graph and one on a graph thinned by learned policies.

Source: Tu et al., "Adaptive Graph Learning for Multimodal Conversational Emotion Detection", AAAI 2024. The authors'
code was public for some time (commit c20f083), and the network follows it. **The policies are our interpretation**: in
that code they were free parameter tables indexed by the position in the batch, which did not depend on the input, and
they were sampled at random on test too.

    u_t = LN(Linear(t));  u_a, u_v = Linear(a), Linear(v), as wide as the features          both streams share these
    x_t = BiGRU(p_t) + k_t y_t;  x_a = p_a + k_a y_a;  x_v = p_v + k_v y_v;  p_m = Linear(u_m)            200 wide
    y_m   MM-DFN's speaker context of p_m: one GRU for all parties, all modalities and both streams
    graph : `model.baselines.modality_graph`, but inside a modality only edges with j <= i: no future utterance is used
    GCNII_l, l = 1 .. K, 100 wide, alpha 0.2, lambda 0.5:  h_0 = relu(Linear(drop x)),  h = drop(GCNII_l(A^ h, h_0))
    F1 = [0.1 h_a ; 0.1 h_v ; 0.8 h_t] on the whole graph, F2 likewise on the thinned one, with layers of its own
    g  = sigmoid(Linear(mean of [F1 ; F2] over the dialogue));  z = g F1 + (1 - g) F2
    logits = Linear(relu(drop [z ; 0.1 x_a ; 0.1 x_v ; 0.8 x_t]))                             x of the first stream

The policies choose for each node, from the first stream's x:

    node policy   kept (1) or not (0). In the second stream, u_a and u_v of a node that is not kept are zero, and so is
                  the speaker context k_m y_m of all three modalities. The text itself is never dropped.
    edge policy   the edges from the own speaker's utterances, its own among them (1), or those from the others' (0).

They are straight-through Gumbel samples in training, and the most probable choice in evaluation. One optimiser trains
network and policies together. The loss has two more terms: `keep`, the squared difference between each modality's mean
probability of being kept and its target (0.8 for audio and visual, 1 for text), and `intra`, the mean probability of
choosing the *other* speakers' edges.

Only the graph is causal: the text GRU and the speaker GRU are bidirectional, and g averages over the whole dialogue.

Published: Adam 3e-4 (MELD 1e-3), l2 1e-4 (5e-4), 60 epochs, batch 32, dropout 0.4, focal loss with gamma 0.5 (1),
class weights on IEMOCAP, 16 layers (32), u_t 100 wide (600), temperature 5, speaker context on MELD only with k = 1.5
for text and 0.5 for audio and visual. Every second epoch trains the policies alone, with an optimiser of their own, and
then the temperature falls by 3.5 %; the learning rate falls to 0.6 of itself after epochs 25, 40 and 50. Text is the
mean of four RoBERTa layers there, each with a normalisation of its own, and the features that we extract here.
docs/baselines.md says what is not adopted, and why.
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


class Inner(nn.Module):
    """What both streams share: the features' first layer, and the speaker context.

    The GRU over each speaker's utterances is built only if some entry of `speaker_weights` is not 0.
    """

    weights: Tensor
    """Weight k_m of each modality's speaker context, [M, 1, 1]."""

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        self.first = nn.ModuleDict({name: nn.Linear(width, width) for name, width in config.dims.items()})
        if "text" in config.dims:
            wide = config.text_dim
            self.first["text"] = nn.Sequential(nn.Linear(config.dims["text"], wide), nn.LayerNorm(wide))
        weights = [getattr(config.speaker_weights, name) for name in config.dims]
        self.party = PartyContext(config.dim, 2, config.dropout) if any(weights) else None
        self.register_buffer("weights", torch.tensor(weights).view(-1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Features of each modality -> u_m [B, T, F]; the text's are `text_dim` wide."""
        return {name: self.first[name](values) for name, values in masked_features(batch).items()}

    def context(self, projected: Tensor, keep: Tensor, batch: Batch) -> Tensor | float:
        """p_m [M, B, T, dim] and which nodes are kept [M, B, T] -> k_m y_m, zero where a node is not kept."""
        if self.party is None:
            return 0.0
        return (self.weights * keep).unsqueeze(-1) * self.party(projected, batch.who)


class StreamEncoder(nn.Module):
    """Network from u_m to the nodes x_m of one stream."""

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        widths = {name: config.text_dim if name == "text" else width for name, width in config.dims.items()}
        self.project = nn.ModuleDict({name: nn.Linear(width, config.dim) for name, width in widths.items()})
        if "text" in config.dims:
            self.sequence = Bidirectional(nn.GRU, config.dim, config.dim // 2, 2, config.dropout)

    def forward(self, u: dict[str, Tensor], keep: Tensor, inner: Inner, batch: Batch) -> Tensor:
        """u_m and which nodes are kept [M, B, T] -> nodes [M, B, T, dim]."""
        factor = {name: 1.0 if name == "text" else one.unsqueeze(-1) for name, one in zip(u, keep, strict=True)}
        x = {name: self.project[name](values * factor[name]) for name, values in u.items()}
        context = inner.context(torch.stack(list(x.values())), keep, batch)
        if "text" in x:
            x["text"] = self.sequence(x["text"], batch.lengths())
        return torch.stack(list(x.values())) + context


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
    own = own.unsqueeze(-1)
    return own * same + (1 - own) * (1 - same)


class GraphStack(nn.Module):
    """Graph convolutions of one stream."""

    def __init__(self, config: AdaignConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.dim, config.graph_dim)
        self.layers = nn.ModuleList(
            DeepConvolution(config.graph_dim, layer, config.alpha, config.decay)
            for layer in range(1, config.layers + 1)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, nodes: Tensor, edges: Tensor) -> Tensor:
        """Nodes [M, B, T, dim] and a factor on the edges inside a modality -> [M, B, T, graph_dim]."""
        graph = modality_graph(x, nodes, edges)
        h = h0 = torch.relu(self.enter(self.dropout(x)))
        for layer in self.layers:
            h = layer(graph.propagate(self.dropout(h)), h0)
        return self.dropout(h)


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
        self.inner = Inner(config)
        self.whole_encoder, self.thin_encoder = StreamEncoder(config), StreamEncoder(config)
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
        """Lower the temperature of the Gumbel samples by 3.5 % after every second epoch."""
        self.temperature = self.config.temperature * 0.965 ** ((epoch - 1) // 2)

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the losses by name."""
        nodes, mask = usable(batch), batch.mask
        past = torch.ones(mask.shape[1], mask.shape[1], device=mask.device).tril()
        u = self.inner(batch)
        x = self.whole_encoder(u, torch.ones_like(nodes, dtype=torch.float32), self.inner, batch)
        whole = read_out([self.share * self.whole(x, nodes, past)], nodes)

        keep, keep_chance = self.node_policy(x, self.temperature)
        own, own_chance = self.edge_policy(x, self.temperature)
        thin_x = self.thin_encoder(u, keep, self.inner, batch)
        thin = read_out([self.share * self.thin(thin_x, nodes, past * thinned(own, batch.speaker))], nodes)

        mean = (torch.cat([whole, thin], dim=-1) * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        g = torch.sigmoid(self.gate(mean)).unsqueeze(1)
        z = torch.cat([g * whole + (1 - g) * thin, read_out([self.share * x], nodes)], dim=-1)
        representation = torch.relu(self.dropout(z))
        logits = self.classifier(representation)
        counted = nodes & batch.labelled
        rate = torch.stack([masked_mean(*pair) for pair in zip(keep_chance, counted, strict=True)])
        losses = {
            "focal": focal(logits, batch.label, mask, self.config.focal_gamma, class_weights),
            "keep": (rate - self.target).square().sum(),
            "intra": masked_mean(1 - own_chance, counted),
        }
        return Output(logits, losses, representation)
