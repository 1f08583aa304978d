"""Names and shapes of the tensors that each published network takes, from its sizes.

The sizes are the `hparams` of a `config.json` (of `stein_moco`, also its `architecture`), by their published names.
"""

from typing import Any

Sizes = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

RESNET50 = {"block": "Bottleneck", "layers": [3, 4, 6, 3], "planes": [64, 128, 256, 512], "expansion": 4, "stem_channels": 64}

# Ids and positions of the modalities that the encoder of AION-1 is measured with.
AION_MODALITIES = {
    "tok_image": (4375, 576),
    "tok_spectrum_desi": (1024, 273),
    **{f"tok_flux_{band}": (1024, 1) for band in "griz"},
    "tok_z": (1025, 1),
}


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """A linear map."""
    weight = {f"{name}.weight": (outputs, inputs)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, width: int) -> Shapes:
    """A layer normalisation."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def vit(sizes: Sizes, prefix: str = "") -> Shapes:
    """DINOv2's vision transformer: all of AstroDINO, and the backbone of AstroCLIP's image tower."""
    width, patch, depth, chunks = (sizes[name] for name in ("embed_dim", "patch_size", "depth", "block_chunks"))
    hidden = int(width * sizes["mlp_ratio"])
    places = (sizes["img_size"] // patch) ** 2
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "pos_embed": (1, places + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        **norm("norm", width),
    }
    for number in range(depth):
        chunk = f"{number // (depth // chunks)}." if chunks else ""
        block = f"blocks.{chunk}{number}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= linear(f"{block}.attn.qkv", width, 3 * width) | linear(f"{block}.attn.proj", width, width)
        shapes |= linear(f"{block}.mlp.fc1", width, hidden) | linear(f"{block}.mlp.fc2", hidden, width)
        shapes |= {f"{block}.ls1.gamma": (width,), f"{block}.ls2.gamma": (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def specformer(sizes: Sizes, prefix: str = "") -> Shapes:
    """SpecFormer, alone or as the backbone of AstroCLIP's spectrum tower."""
    width, inputs = sizes["embed_dim"], sizes["input_dim"]
    shapes = linear("data_embed", inputs, width) | linear("head", width, inputs) | norm("final_layernorm", width)
    shapes["position_embed.weight"] = (sizes["max_len"], width)
    for number in range(sizes["num_layers"]):
        block = f"blocks.{number}"
        shapes |= norm(f"{block}.layernorm1", width) | norm(f"{block}.layernorm2", width)
        shapes |= linear(f"{block}.attention.attention", width, 3 * width)
        shapes |= linear(f"{block}.attention.projection", width, width)
        shapes |= linear(f"{block}.mlp.encoder", width, 4 * width) | linear(f"{block}.mlp.decoder", 4 * width, width)
    return {prefix + name: shape for name, shape in shapes.items()}


def head(sizes: Sizes, prefix: str) -> Shapes:
    """What AstroCLIP puts behind a backbone: a query that attends to its tokens, and a perceptron."""
    width, tokens = sizes["embed_dim"], sizes["model_embed_dim"]
    attention = f"{prefix}cross_attention.multihead_attn"
    shapes: Shapes = {f"{prefix}cross_attention.query": (1, 1, width), f"{attention}.in_proj_bias": (3 * width,)}
    if width == tokens:
        shapes[f"{attention}.in_proj_weight"] = (3 * width, width)
    else:
        parts = (("q", width), ("k", tokens), ("v", tokens))
        shapes |= {f"{attention}.{part}_proj_weight": (width, inputs) for part, inputs in parts}
    shapes |= linear(f"{attention}.out_proj", width, width) | norm(f"{prefix}cross_attention.layernorm", width)
    return shapes | linear(f"{prefix}mlp.encoder", width, 4 * width) | linear(f"{prefix}mlp.decoder", 4 * width, width)


def astroclip(sizes: Sizes) -> Shapes:
    """One tower of AstroCLIP, or both."""
    shapes: Shapes = {}
    if tower := sizes.get("image"):
        shapes |= vit(tower["backbone"], "image_encoder.backbone.") | head(tower["head"], "image_encoder.")
    if tower := sizes.get("spectrum"):
        shapes |= specformer(tower["backbone"], "spectrum_encoder.backbone.") | head(tower["head"], "spectrum_encoder.")
    return shapes


def stein_moco(sizes: Sizes, architecture: Sizes) -> Shapes:
    """The query encoder of Stein et al.: a residual network of bottlenecks with a contrastive head."""
    shapes: Shapes = {}

    def convolution(name: str, batch_norm: str, inputs: int, outputs: int, side: int) -> None:
        shapes[f"encoder_q.{name}.weight"] = (outputs, inputs, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"encoder_q.{batch_norm}.{part}"] = (outputs,)

    channels = architecture["stem_channels"]
    convolution("conv1", "bn1", 3, channels, 7)
    for stage, (count, planes) in enumerate(zip(architecture["layers"], architecture["planes"], strict=True), 1):
        for number in range(count):
            block, wide = f"layer{stage}.{number}", planes * architecture["expansion"]
            convolution(f"{block}.conv1", f"{block}.bn1", channels, planes, 1)
            convolution(f"{block}.conv2", f"{block}.bn2", planes, planes, 3)
            convolution(f"{block}.conv3", f"{block}.bn3", planes, wide, 1)
            if number == 0 and (stage > 1 or channels != wide):
                convolution(f"{block}.downsample.0", f"{block}.downsample.1", channels, wide, 1)
            channels = wide
    if sizes["use_mlp"]:
        return shapes | linear("encoder_q.fc.0", channels, channels) | linear("encoder_q.fc.2", channels, sizes["emb_dim"])
    return shapes | linear("encoder_q.fc", channels, sizes["emb_dim"])


def aion_encoder(sizes: Sizes) -> Shapes:
    """The encoder of AION-1 with the modalities of `domains_in`, without its decoder."""
    dim = sizes["dim"]
    hidden = 2 * int(dim * sizes["mlp_ratio"]) // 3
    shapes = norm("encoder_norm", dim) | linear("decoder_proj_context", dim, dim)
    for key in sizes["domains_in"]:
        vocabulary, positions = AION_MODALITIES[key]
        shapes |= {
            f"encoder_embeddings.{key}.token_emb.weight": (vocabulary, dim),
            f"encoder_embeddings.{key}.pos_emb": (1, positions, dim),
            f"encoder_embeddings.{key}.mod_emb": (1, 1, dim),
        }
    for number in range(sizes["encoder_depth"]):
        block = f"encoder.{number}"
        shapes |= norm(f"{block}.norm1", dim) | norm(f"{block}.norm2", dim)
        shapes |= linear(f"{block}.attn.qkv", dim, 3 * dim, bias=sizes["qkv_bias"])
        shapes |= linear(f"{block}.attn.proj", dim, dim, bias=sizes["proj_bias"])
        for name, inputs, outputs in (("fc1", dim, hidden), ("fc3", dim, hidden), ("fc2", hidden, dim)):
            shapes |= linear(f"{block}.mlp.{name}", inputs, outputs, bias=sizes["mlp_bias"])
    return shapes


def aion_image_codec(sizes: Sizes) -> Shapes:
    """The encoding half of AION-1's image codec; `_quantizer.levels` beside it holds integers."""
    projected, hidden, codes = (sizes[name] for name in ("multisurvey_projection_dims", "hidden_dims", "embedding_dim"))
    shapes: Shapes = {}

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)})

    def unit(name: str, width: int) -> None:
        squeezed = max(width // 2, 16)
        parts = (("0.conv", width, width, 3), ("2", width, width, 1), ("4.to_k", width, 1, 1))
        for part, inputs, outputs, side in (*parts, ("4.net.0", width, squeezed, 1), ("4.net.2", squeezed, width, 1)):
            convolution(f"{name}.net.{part}", inputs, outputs, side)

    width = hidden >> sizes["n_compressions"]
    convolution("model.conv_in.conv", projected, width, 7)
    unit("model.encoder_layers.0", width)
    place = 1
    for step in range(sizes["n_compressions"] + 1):
        wider, side = (2 * width, 3) if step < sizes["n_compressions"] else (width, 7)
        convolution(f"model.encoder_layers.{place}.conv", width, wider, side)
        width = wider
        for number in range(sizes["num_consecutive"]):
            unit(f"model.encoder_layers.{place + 1}.{number}", width)
        place += 2
    convolution("pre_quant_proj", width, codes, 1)
    return shapes | norm(f"model.encoder_layers.{place}.1", width) | linear("subsample_in", 9, projected)


def shapes_of(config: dict[str, Any]) -> Shapes:
    """Names and shapes for a `config.json`; KeyError for a kind that is not here."""
    sizes = config["hparams"]
    if config["kind"] == "stein_moco":
        return stein_moco(sizes, config.get("architecture", RESNET50))
    makers = {"astroclip": astroclip, "astrodino": vit, "specformer": specformer}
    makers |= {"aion_encoder": aion_encoder, "aion_image_codec": aion_image_codec}
    return makers[config["kind"]](sizes)
