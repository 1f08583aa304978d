"""The published networks as plain PyTorch modules, by the names of their published tensors, and as fast as plain modules go.

Attention is PyTorch's fused one, without a mask where nothing is missing. `build` makes the module of a `config.json`;
its `forward` takes what the golden folder's inputs hold and gives the outputs by name.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Sizes = dict[str, Any]
Outputs = dict[str, Tensor]


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention of many heads, rows x tokens x width."""

    def split(tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)

    attended = functional.scaled_dot_product_attention(split(query), split(key), split(value))
    return attended.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Attention of tokens to each other, with a joined map to query, key and value."""

    def __init__(self, width: int, heads: int, joined: str, projection: str, *, bias: tuple[bool, bool] = (True, True)) -> None:
        super().__init__()
        self.heads = heads
        # A tuple is no submodule: the maps are registered under their published names alone.
        self.maps = (nn.Linear(width, 3 * width, bias=bias[0]), nn.Linear(width, width, bias=bias[1]))
        self.add_module(joined, self.maps[0])
        self.add_module(projection, self.maps[1])

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.maps[0](tokens).chunk(3, -1)
        return self.maps[1](attend(query, key, value, self.heads))


class Perceptron(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int, hidden: int, first: str, second: str) -> None:
        super().__init__()
        self.maps = (nn.Linear(width, hidden), nn.Linear(hidden, width))
        self.add_module(first, self.maps[0])
        self.add_module(second, self.maps[1])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.maps[1](functional.gelu(self.maps[0](tokens)))


class Scale(nn.Module):
    """A factor for every component."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class VitBlock(nn.Module):
    """A block of DINOv2's vision transformer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, epsilon = sizes["embed_dim"], sizes["layernorm_eps"]
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attn = Attention(width, sizes["num_heads"], "qkv", "proj")
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.mlp = Perceptron(width, int(width * sizes["mlp_ratio"]), "fc1", "fc2")
        self.ls2 = Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class Vit(nn.Module):
    """DINOv2's vision transformer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, patch, depth, chunks = (sizes[name] for name in ("embed_dim", "patch_size", "depth", "block_chunks"))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (sizes["img_size"] // patch) ** 2 + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        blocks = [VitBlock(sizes) for _ in range(depth)]
        length = depth // chunks if chunks else depth
        parts = [{str(number): blocks[number] for number in range(start, start + length)} for start in range(0, depth, length)]
        self.blocks = nn.ModuleList(map(nn.ModuleDict, parts)) if chunks else nn.ModuleDict(parts[0])
        self.order = blocks
        self.norm = nn.LayerNorm(width, sizes["layernorm_eps"])

    def patches(self, pictures: Tensor) -> Tensor:
        """Patches as tokens, row by row."""
        projection = self.patch_embed["proj"]
        return projection(pictures.to(projection.weight.dtype)).flatten(2).transpose(1, 2)

    def transform(self, tokens: Tensor) -> Tensor:
        """All blocks and the last normalisation."""
        for block in self.order:
            tokens = block(tokens)
        return self.norm(tokens)

    def with_positions(self, patches: Tensor) -> Tensor:
        """The class token before the patches, and positions added."""
        return torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed


class AstroDino(Vit):
    """The image backbone alone."""

    def forward(self, inputs: Tensor) -> Outputs:
        tokens = self.transform(self.with_positions(self.patches(inputs)))
        return {"x_norm_clstoken": tokens[:, 0], "x_norm_patchtokens": tokens[:, 1:]}


class SpecBlock(nn.Module):
    """A block of SpecFormer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, epsilon = sizes["embed_dim"], sizes["layernorm_eps"]
        self.layernorm1 = nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, sizes["num_heads"], "attention", "projection")
        self.layernorm2 = nn.LayerNorm(width, epsilon)
        self.mlp = Perceptron(width, 4 * width, "encoder", "decoder")

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm1(tokens))
        return tokens + self.mlp(self.layernorm2(tokens))


class SpecFormer(nn.Module):
    """The spectrum backbone, from raw flux (rows x bins x 1) to tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, inputs = sizes["embed_dim"], sizes["input_dim"]
        self.section, self.overlap = sizes["slice_section_length"], sizes["slice_overlap"]
        self.least_deviation = sizes["std_clip_min"]
        self.data_embed, self.head = nn.Linear(inputs, width), nn.Linear(width, inputs)
        self.position_embed = nn.Embedding(sizes["max_len"], width)
        self.blocks = nn.ModuleList(SpecBlock(sizes) for _ in range(sizes["num_layers"]))
        self.final_layernorm = nn.LayerNorm(width, sizes["layernorm_eps"])

    def windows(self, spectra: Tensor) -> Tensor:
        """Windows of standardised flux behind a token of its statistics; the last window is always left out."""
        spectra, step = spectra.squeeze(-1), self.section - self.overlap
        mean = spectra.mean(1, keepdim=True)
        deviation = spectra.std(1, keepdim=True).clamp(min=self.least_deviation)
        count = math.ceil((spectra.shape[1] - self.overlap) / step) - 1
        windows = ((spectra - mean) / deviation).unfold(1, self.section, step)[:, :count]
        tokens = functional.pad(windows, (2, 0, 1, 0))
        tokens[:, 0, :2] = torch.cat([(mean - 2) / 2, (deviation - 2) / 8], 1)
        return tokens

    def tokens(self, spectra: Tensor) -> Tensor:
        """Tokens behind the last normalisation."""
        embedded = self.data_embed(self.windows(spectra).to(self.data_embed.weight.dtype))
        tokens = embedded + self.position_embed.weight[: embedded.shape[1]]
        for block in self.blocks:
            tokens = block(tokens)
        return self.final_layernorm(tokens)

    def forward(self, inputs: Tensor) -> Outputs:
        tokens = self.tokens(inputs)
        return {"embedding": tokens, "pooled_mean_all": tokens.mean(1), "pooled_mean_excluding_token0": tokens[:, 1:].mean(1)}


class CrossAttention(nn.Module):
    """A learned query that attends to the tokens of a backbone."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, tokens = sizes["embed_dim"], sizes["model_embed_dim"]
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.multihead_attn = nn.MultiheadAttention(width, sizes["n_head"], batch_first=True, kdim=tokens, vdim=tokens)
        self.layernorm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        query = self.query.expand(len(tokens), -1, -1)
        return self.layernorm(self.multihead_attn(query, tokens, tokens, need_weights=False)[0])


class Tower(nn.Module):
    """A tower of AstroCLIP; that of images has neither class token nor positions nor a way around its perceptron."""

    def __init__(self, backbone: nn.Module, sizes: Sizes) -> None:
        super().__init__()
        width = sizes["embed_dim"]
        self.backbone = backbone
        self.cross_attention = CrossAttention(sizes)
        self.mlp = Perceptron(width, 4 * width, "encoder", "decoder")

    def forward(self, inputs: Tensor) -> Outputs:
        if isinstance(self.backbone, Vit):
            tokens = self.backbone.transform(self.backbone.patches(inputs))
            return {"embedding": self.mlp(self.cross_attention(tokens)).squeeze(1)}
        attended = self.cross_attention(self.backbone.tokens(inputs))
        return {"embedding": (attended + self.mlp(attended)).squeeze(1)}


class AstroClip(nn.Module):
    """One tower, under its published name."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        name, make = ("image", Vit) if "image" in sizes else ("spectrum", SpecFormer)
        self.towers = (Tower(make(sizes[name]["backbone"]), sizes[name]["head"]),)
        self.add_module(f"{name}_encoder", self.towers[0])

    def forward(self, inputs: Tensor) -> Outputs:
        return self.towers[0](inputs)


class Bottleneck(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, channels: int, planes: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample = None
        if stride > 1 or channels != wide:
            self.downsample = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(inputs)), inplace=True)
        hidden = functional.relu(self.bn2(self.conv2(hidden)), inplace=True)
        kept = self.downsample(inputs) if self.downsample else inputs
        return functional.relu(self.bn3(self.conv3(hidden)) + kept, inplace=True)


class ResNet(nn.Module):
    """The query encoder of Stein et al."""

    def __init__(self, sizes: Sizes, architecture: Sizes) -> None:
        super().__init__()
        channels = architecture["stem_channels"]
        self.conv1, self.bn1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels)
        for stage, (count, planes) in enumerate(zip(architecture["layers"], architecture["planes"], strict=True), 1):
            wide, blocks = planes * architecture["expansion"], []
            for number in range(count):
                blocks.append(Bottleneck(channels, planes, wide, 2 if number == 0 and stage > 1 else 1))
                channels = wide
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc: nn.Module = nn.Linear(channels, sizes["emb_dim"])
        if sizes["use_mlp"]:
            self.fc = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), self.fc)

    def forward(self, inputs: Tensor) -> Outputs:
        hidden = functional.relu(self.bn1(self.conv1(inputs.to(self.conv1.weight.dtype))), inplace=True)
        hidden = functional.max_pool2d(hidden, 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = stage(hidden)
        representation = hidden.mean((2, 3))
        return {"representation": representation, "encoder_q_output_with_fc": self.fc(representation)}


class SteinMoco(nn.Module):
    """The same under its published name."""

    def __init__(self, sizes: Sizes, architecture: Sizes) -> None:
        super().__init__()
        self.encoder_q = ResNet(sizes, architecture)

    def forward(self, inputs: Tensor) -> Outputs:
        return self.encoder_q(inputs)


class GatedPerceptron(nn.Module):
    """A perceptron whose hidden components are gated."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.fc1, self.fc3 = nn.Linear(width, hidden, bias=bias), nn.Linear(width, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, width, bias=bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.silu(self.fc1(tokens)) * self.fc3(tokens))


class AionBlock(nn.Module):
    """A block of AION-1's encoder."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim = sizes["dim"]
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        biases = (sizes["qkv_bias"], sizes["proj_bias"])
        self.attn = Attention(dim, sizes["num_heads"], "qkv", "proj", bias=biases)
        self.mlp = GatedPerceptron(dim, 2 * int(dim * sizes["mlp_ratio"]) // 3, bias=sizes["mlp_bias"])

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class AionEmbedding(nn.Module):
    """Tables of a modality on a grid."""

    def __init__(self, vocabulary: int, positions: int, dim: int) -> None:
        super().__init__()
        self.token_emb = nn.Embedding(vocabulary, dim)
        self.pos_emb = nn.Parameter(torch.zeros(1, positions, dim))
        self.mod_emb = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        values = self.token_emb(ids)
        return values, (self.pos_emb + self.mod_emb).expand_as(values)


class AionEncoder(nn.Module):
    """AION-1's encoder on tokens of which none is missing."""

    def __init__(self, sizes: Sizes, modalities: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        dim = sizes["dim"]
        self.encoder_embeddings = nn.ModuleDict({key: AionEmbedding(*modalities[key], dim) for key in sizes["domains_in"]})
        self.encoder = nn.ModuleList(AionBlock(sizes) for _ in range(sizes["encoder_depth"]))
        self.encoder_norm = nn.LayerNorm(dim, 1e-6)
        self.decoder_proj_context = nn.Linear(dim, dim)

    def forward(self, inputs: dict[str, Tensor], tokens_max: int) -> Outputs:
        parts = [self.encoder_embeddings[key](ids) for key, ids in inputs.items()]
        values, offsets = (torch.cat(part, 1)[:, :tokens_max] for part in zip(*parts, strict=True))
        tokens = values + offsets
        for block in self.encoder:
            tokens = block(tokens)
        tokens = self.decoder_proj_context(self.encoder_norm(tokens)) + offsets
        return {"embedding_tokens": tokens, "mean_all_tokens": tokens.mean(1)}


class Inner(nn.Module):
    """A convolution one level down, where its published name has it."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, side // 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class SqueezeExcite(nn.Module):
    """Weighs channels by a mean over the picture, which the picture itself weighs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = max(width // 2, 16)
        self.to_k = nn.Conv2d(width, 1, 1)
        layers = (nn.Conv2d(width, squeezed, 1), nn.LeakyReLU(0.1), nn.Conv2d(squeezed, width, 1), nn.Sigmoid())
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        attention = self.to_k(features).flatten(2).softmax(-1)
        pooled = features.flatten(2) @ attention.transpose(1, 2)
        return features * self.net(pooled.unsqueeze(-1))


class Unit(nn.Module):
    """A residual unit of the image codec."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = (Inner(width, width, 3), nn.ELU(), nn.Conv2d(width, width, 1), nn.ELU(), SqueezeExcite(width))
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.net(features) + features


class ChannelNorm(nn.Sequential):
    """A layer normalisation over channels, the second of three steps as its published name says."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Identity(), nn.LayerNorm(width), nn.Identity())

    def forward(self, features: Tensor) -> Tensor:
        return self[1](features.movedim(1, -1)).movedim(-1, 1)


class CodecEncoder(nn.Module):
    """The convolutions of the image codec."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes["hidden_dims"] >> sizes["n_compressions"]
        self.conv_in = Inner(sizes["multisurvey_projection_dims"], width, 7)
        layers: list[nn.Module] = [Unit(width)]
        for step in range(sizes["n_compressions"] + 1):
            is_narrowing = step < sizes["n_compressions"]
            layers.append(Inner(width, 2 * width, 3, 2) if is_narrowing else Inner(width, width, 7))
            width *= 2 if is_narrowing else 1
            layers.append(nn.Sequential(*(Unit(width) for _ in range(sizes["num_consecutive"]))))
        self.encoder_layers = nn.Sequential(*layers, ChannelNorm(width))

    def forward(self, features: Tensor) -> Tensor:
        return self.encoder_layers(self.conv_in(features))


class AionImageCodec(nn.Module):
    """The encoding half of AION-1's image codec, for images of 96 x 96 pixels in the bands of the Legacy Surveys."""

    CHANNELS, FIRST, MOST = 9, 5, (6.0, 15.0, 20.0, 25.0)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.bend, self.factor = sizes["range_compression_factor"], sizes["mult_factor"]
        self.subsample_in = nn.Linear(self.CHANNELS, sizes["multisurvey_projection_dims"])
        self.model = CodecEncoder(sizes)
        self.pre_quant_proj = nn.Conv2d(sizes["hidden_dims"], sizes["embedding_dim"], 1)
        self._quantizer = nn.Module()
        self._quantizer.register_buffer("levels", torch.tensor(sizes["quantizer_levels"], dtype=torch.int32))

    def quantised(self, latent: Tensor) -> Tensor:
        """Codes of latents, rows x numbers x places."""
        levels = self._quantizer.levels.double()
        half = ((levels - 1) * (1 + 1e-3) / 2).float()[:, None]
        offset = torch.where(levels % 2 == 1, 0.0, 0.5).float()[:, None]
        basis = (levels.float().cumprod(0) / levels.float())[:, None]
        middle = (levels // 2).float()[:, None]
        rounded = (torch.tanh(latent + torch.atanh(offset / half)) * half - offset).round()
        return ((rounded + middle) * basis).sum(1).int()

    def forward(self, flux: Tensor) -> Outputs:
        start = [(side - 96) // 2 for side in flux.shape[2:]]
        flux = flux[:, :, start[0] : start[0] + 96, start[1] : start[1] + 96]
        most = torch.tensor(self.MOST, device=flux.device)[:, None, None]
        bent = torch.asinh(flux.clamp(-most, most) / self.bend) * (self.bend * self.factor)
        padded = functional.pad(bent, (0, 0, 0, 0, self.FIRST, 0)).movedim(1, -1)
        scale = math.sqrt(self.CHANNELS / len(self.MOST))
        latent = self.pre_quant_proj(self.model((self.subsample_in(padded) * scale).movedim(-1, 1))).flatten(2)
        return {"latent": latent, "tokens": self.quantised(latent)}


def build(config: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """The module of a `config.json` with its weights, in evaluation mode. Every tensor of the module must be there."""
    sizes, kind = config["hparams"], config["kind"]
    if kind == "aion_encoder":
        names = {key: f"encoder_embeddings.{key}" for key in sizes["domains_in"]}
        # A tensor that encoder and decoder share is in the file under the decoder's name.
        state = state | {
            f"{name}.mod_emb": state[f"decoder_embeddings.{key}.mod_emb"]
            for key, name in names.items()
            if f"{name}.mod_emb" not in state
        }
        tables = {
            key: (state[f"{name}.token_emb.weight"].shape[0], state[f"{name}.pos_emb"].shape[1]) for key, name in names.items()
        }
        module: nn.Module = AionEncoder(sizes, tables)
    elif kind == "stein_moco":
        module = SteinMoco(sizes, config["architecture"])
    else:
        makers = {"astroclip": AstroClip, "astrodino": AstroDino, "specformer": SpecFormer}
        module = (makers | {"aion_image_codec": AionImageCodec})[kind](sizes)
    missing, unexpected = module.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    training = ("decoder", "mask_token", "encoder_k.", "queue", "val_queue")
    training += ("model.decoder_layers.", "model.conv_out.", "subsample_out.", "post_quant_proj.")
    unexpected = [name for name in unexpected if not name.startswith(training)]
    if missing or unexpected:
        raise ValueError(f"the weights do not fit {kind}: missing {missing[:3]}, unknown {unexpected[:3]}")
    return module.eval()
