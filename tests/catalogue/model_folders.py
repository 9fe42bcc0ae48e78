"""Ensembles and model folders: the demo's, with one thing wrong each."""

import json
import math
import struct

from rows import DEMO, commands, contents, demo_with, edited, inputs, text

DRAW = "generate --ensemble @/e/ensemble.json --models plain --prompt x --out @/out"
MIX = "blend --ensemble @/e/ensemble.json --pair plain,poster --prompt x --out @/out"
MOVE = "optimize --ensemble @/e/ensemble.json --pair plain,poster --prompt x --out @/out"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def ensemble(name, pattern, *given):
    return contents("ensemble: " + name, DRAW.replace("/e/ensemble", "/e"), r"/e\.json: " + pattern,
                    *given, file="e.json")


def model(name, file, pattern, *changes, command=DRAW):
    """What becomes of `plain` when that file of it is another."""
    return inputs(f"{file}: {name}", command, rf"/{file}.*: .*({pattern})",
                  *(demo_with({f"plain/{file}": change}) for change in changes))


def config(part, name, pattern, *changes, command=DRAW, folder="plain/"):
    return inputs(f"{part}: {name}", command, rf"/{part}: {pattern}",
                  *(demo_with({folder + part: change}) for change in changes))


def tensors(change):
    """Weights with another header, made by `change` of the old one and its bytes."""
    def edit(old):
        size = struct.unpack("<Q", old[:8])[0]
        header, data = change(json.loads(old[8:8 + size]), old[8 + size:])
        head = text(header)
        return struct.pack("<Q", len(head)) + head + data
    return edit


def without(*prefixes):
    """Without the tensors whose names begin so; what is left is packed anew."""
    def change(header, data):
        kept, out = {}, b""
        for name, entry in sorted(header.items(), key=lambda x: x[1].get("data_offsets", [0])):
            if name.startswith(prefixes) or name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            kept[name] = entry | {"data_offsets": [len(out), len(out) + end - begin]}
            out += data[begin:end]
        return kept, out
    return tensors(change)


def retyped(name, dtype, size):
    """The tensor of that name as zeros of another type."""
    def change(header, data):
        kept, out = {}, b""
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            bytes_ = data[begin:end]
            if key == name:
                entry, bytes_ = entry | {"dtype": dtype}, bytes(math.prod(entry["shape"]) * size)
            kept[key] = entry | {"data_offsets": [len(out), len(out) + len(bytes_)]}
            out += bytes_
        return kept, out
    return tensors(change)


def reshaped(name, shape):
    def change(header, data):
        header[name]["shape"] = shape
        return header, data
    return tensors(change)


def of_demo(**changes):
    return edited(**changes)((DEMO / "ensemble.json").read_bytes())


def first_diffuser(*keys, **changes):
    entry = {"name": "plain", "path": "plain"} | changes
    return text({"name": "e", "diffusers": [{k: v for k, v in entry.items() if k not in keys}]})


TOKENS = json.loads((DEMO / "plain/tokenizer/vocab.json").read_text())
MERGES = (DEMO / "plain/tokenizer/merges.txt").read_bytes()
INDEX = "model_index.json"
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"

ROWS = [
    commands("ensemble missing", r'e/ensemble\.json.*No such file|"?@?.*e/ensemble\.json', DRAW,
             status=3),
    ensemble("no diffusers", r"\$: .*diffusers", b'{"name": "e"}'),
    ensemble("diffusers of another kind", r"\$\.diffusers.*: found .*, expected", *(
        text({"name": "e", "diffusers": v}) for v in ([], {}, "plain", [5], ["plain"]))),
    ensemble("a typo", r"\$.*diffuser", b'{"name": "e", "diffuser": []}'),
    ensemble("a diffuser without a path", r"\$\.diffusers\[0\].*path", first_diffuser("path")),
    ensemble("a diffuser without a name", r"\$\.diffusers\[0\].*name", first_diffuser("name")),
    ensemble("unsafe name", r"\$\.diffusers\[0\]\.name: found .*, expected", *(
        first_diffuser(name=n) for n in ("../x", "a/b", "", "-x", "a b\n", "n" * 300))),
    ensemble("an unknown field of a diffuser", r"\$\.diffusers\[0\].*wieght",
             first_diffuser(wieght=1)),
    ensemble("a template", r"\$\.diffusers\[0\]\.prompt: found .*, expected",
             first_diffuser(prompt="no place"),
             first_diffuser(prompt=5)),
    ensemble("a prediction", r"\$\.diffusers\[0\]\.prediction", first_diffuser(prediction="x")),
    ensemble("a name twice", r"\$\.diffusers\[1\]\.name: found \"plain\" a second time", text({"name": "e", "diffusers": [
        {"name": "plain", "path": "a"}] * 2})),
    ensemble("a pair", r"\$\.pair.*: found", of_demo(pair=["plain"]), of_demo(pair=["plain", "x"]),
             of_demo(pair=[1, 2]), of_demo(pair="plain")),
    ensemble("sizes", r"\$\.vqgan\.size.*: found", *(
        of_demo(vqgan={"path": "v", "size": v}) for v in ([128], [0, 0], ["a", "b"], [1e9, 1e9]))),
    ensemble("defaults", r"\$\.generate\.\w+: found .*, expected", of_demo(generate={"steps": 0}),
             of_demo(generate={"guidance": "high"})),
    ensemble("unknown defaults", r"\$\.(generate|optimize).*found", of_demo(generate={"stesp": 5}),
             of_demo(optimize={"out": "/tmp"}), of_demo(optimize=[])),
    ensemble("syntax", r"line \d+, column \d+", b"{", b'{"name": e}', b""),
    ensemble("a model that is not there", r"\$?.*/plain.*(No such file|nothing)", first_diffuser()),

    inputs("folder missing", DRAW, r"/plain.*(No such file|nothing)",
           lambda folder: demo_with({})(folder) or (folder / "e/plain").rename(folder / "gone")),
    inputs("model_index.json gone", DRAW, r"/plain: found no model_index\.json but scheduler, text_encoder, "
           r"tokenizer, unet, vae, expected a diffusers directory: model_index\.json, ",
           demo_with({f"plain/{INDEX}": None})),
    commands("a model of another kind", r"/clip: found no model_index\.json but config\.json, .*, expected",
             DRAW.replace("@/e/ensemble.json", "demo").replace("plain", str(DEMO / "clip")), status=3),
    commands("no model at a path", r"^@?.*/nowhere: found nothing there \(No such file or directory\), expected",
             DRAW.replace("@/e/ensemble.json", "demo").replace("plain", "@/nowhere"), status=3),
    config(INDEX, "a class", r"\$._class_name: found .*, expected",
           edited(_class_name="StableDiffusionXLPipeline"), edited(_class_name=5)),
    config(INDEX, "a part's class", r"\$\.unet.*: found .*, expected",
           edited(unet=["diffusers", "UNet3DConditionModel"]), edited(unet=["diffusers"]),
           edited(unet="x"), edited(unet=[None, None])),
    config(INDEX, "syntax", r"line \d+, column \d+", b"{", b"", b"<html>"),
    inputs("a part's folder missing", DRAW, r"/plain/(unet|vae|scheduler|tokenizer|text_encoder): "
           r"found no such folder \(No such file or directory\), expected the", *(
               demo_with({f"plain/{part}/{name}": None for name in names}) for part, names in {
                   "unet": ("config.json", WEIGHTS), "vae": ("config.json", WEIGHTS),
                   "scheduler": ("scheduler_config.json",)}.items())),
    inputs("a part's folder is a link in a circle", DRAW, r"/plain/tokenizer: found no such folder \(Too many "
           r"levels of symbolic links\)", demo_with({"plain/tokenizer/" + name: None for name in (
               "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")},
               {"plain/tokenizer": "tokenizer"})),
    model("gone", UNET, r"No such file", None), model("gone", VAE, r"No such file", None),
    model("gone", TEXT, r"No such file", None),
    inputs("weights gone", DRAW, r"/plain/(unet|vae): found no weights, expected \w+\.safetensors",
           demo_with({f"plain/unet/{WEIGHTS}": None}), demo_with({f"plain/vae/{WEIGHTS}": None})),

    config(UNET, "a field missing", r"\$: found no \"\w+\"|\$: .*(block_out_channels|block_types)",
           edited("block_out_channels"), edited("down_block_types"), edited("up_block_types")),
    config(UNET, "widths", r"\$\.(block_out_channels|down_block_types).*: found .*, expected", *(
        edited(block_out_channels=v) for v in ([48, "96", 96], [48, 96], [], 48, [48, -1, 96],
                                               [48, 1e12, 96], [48, 96, 1.5], [1] * 9))),
    config(UNET, "heads", r"\$\.(attention_head_dim|block_out_channels).*found",
           edited(attention_head_dim=0), edited(attention_head_dim=[2, 2]),
           edited(attention_head_dim=5)),
    config(UNET, "groups", r"\$.*(norm_num_groups|block_out_channels).*: found",
           edited(norm_num_groups=0), edited(norm_num_groups=7), edited(norm_num_groups=-8)),
    config(UNET, "blocks", r"\$\.(down|up)_block_types\[\d\]: found .*, expected",
           edited(down_block_types=["DownBlock3D"] * 3), edited(up_block_types=[1, 2, 3])),
    config(UNET, "activation", r"\$\.act_fn: found string \"\w+\", expected", edited(act_fn="swiglu")),
    config(UNET, "a class", r"\$\._class_name: found .*, expected",
           edited(_class_name="UNet3DConditionModel")),
    config(UNET, "what is not computed", r"\$\.\w+: found .*, expected",
           edited(addition_embed_type="text"), edited(class_embed_type="timestep"),
           edited(time_embedding_type="fourier"), edited(resnet_time_scale_shift="scale_shift"),
           edited(conv_in_kernel=5), edited(mid_block_type="UNetMidBlock2DSimpleCrossAttn")),
    config(UNET, "numbers", r"\$\.\w+: found .*, expected", edited(cross_attention_dim=-1),
           edited(layers_per_block=0), edited(norm_eps=-1), edited(flip_sin_to_cos="yes"),
           edited(sample_size=0), edited(in_channels=1 << 40)),
    config(VAE, "numbers", r"\$\.\w+.*: found .*, expected", edited(scaling_factor=0),
           edited(latent_channels=0), edited(in_channels=4), edited(norm_num_groups=3),
           edited(force_upcast=1), edited(layers_per_block=1000)),
    config(VAE, "blocks", r"\$\.\w+: found .*|\$\.\w+\[\d\]: found", edited(down_block_types=[]),
           edited(up_block_types=["AttnUpDecoderBlock2D"] * 4)),
    config(TEXT, "numbers", r"\$\.\w+: found .*, expected", edited(vocab_size=0),
           edited(hidden_size="128"), edited(num_hidden_layers=-1), edited(num_attention_heads=3),
           edited(num_attention_heads=0), edited(max_position_embeddings=1)),
    config(TEXT, "activation", r"\$\.hidden_act: found \"relu\", expected",
           edited(hidden_act="relu")),
    config(TEXT, "depth", r"line 1, column \d+.*64", b'{"a":' * 100, b"[" * 100),
    config(SCHEDULER, "a class", r"\$\._class_name: found .*, expected",
           edited(_class_name="FlowMatchEulerDiscreteScheduler"), edited(_class_name=5)),
    config(SCHEDULER, "betas", r"\$\.beta\w*.*: found .*, expected", edited(beta_start=0),
           edited(beta_start=-1), edited(beta_end=1.5), edited(beta_schedule="cubic"),
           edited(beta_start="x")),
    config(SCHEDULER, "trained betas", r"\$\.trained_betas.*: found", edited(trained_betas=[0, 2]),
           edited(trained_betas=["a"]), edited(trained_betas=[0] * 1000),
           edited(trained_betas=[0.1] * 999 + [2])),
    config(SCHEDULER, "steps", r"\$\.num_train_timesteps: found .*, expected",
           edited(num_train_timesteps=0), edited(num_train_timesteps=10**9)),
    config(SCHEDULER, "prediction", r"\$\.prediction_type: found \"flow\", expected",
           edited(prediction_type="flow")),
    config(SCHEDULER, "spacing", r"\$\.timestep_spacing: found \"odd\", expected",
           edited(timestep_spacing="odd")),

    model("of another model", f"unet/{WEIGHTS}", r"\d+ tensors missing and \d+ of another shape .*: \S+: found .*, expected \[",
          lambda old: (DEMO / f"plain/vae/{WEIGHTS}").read_bytes(),
          reshaped("conv_in.weight", [4, 48, 3, 3])),
    model("integers", f"unet/{WEIGHTS}", r"0 tensors missing and 1 of another shape or type .*: \S+: found "
          r"\[.*\] of (U8|I64), expected \[.*\] of a floating-point type",
          retyped("conv_in.weight", "U8", 1), retyped("conv_in.bias", "I64", 8)),
    model("tensors missing", f"unet/{WEIGHTS}", r"conv_out\.(weight|bias)", without("conv_out."),
          without("conv_out.bias")),
    model("tensors missing", f"vae/{WEIGHTS}", r"post_quant_conv\.\w+", without("post_quant_conv")),
    model("tensors missing", "text_encoder/model.safetensors", r"token_embedding",
          without("text_model.embeddings.token", "embeddings.token")),
    model("no tensors", f"unet/{WEIGHTS}", r"found|missing", without("")),
    model("short", f"unet/{WEIGHTS}", r"short: incomplete download", lambda old: old[:-100],
          lambda old: old[:len(old) // 2]),
    model("a pointer", f"unet/{WEIGHTS}", r"Git[ -]LFS",
          b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    inputs("broken safetensors beside whole pickles", DRAW, r"/plain/unet/" + WEIGHTS, demo_with(
        {f"plain/unet/{WEIGHTS}": b"broken", "plain/unet/diffusion_pytorch_model.bin": b"PK"})),
    inputs("links", DRAW, r"/plain/unet/" + WEIGHTS + r".*(No such file|Too many levels)",
           demo_with({}, {f"plain/unet/{WEIGHTS}": "nowhere"}),
           demo_with({}, {f"plain/unet/{WEIGHTS}": WEIGHTS})),
    inputs("a folder for a file", DRAW, r"found a directory, expected a regular file",
           demo_with({}, {f"plain/unet/{WEIGHTS}": "."}), demo_with({}, {f"plain/{UNET}": "."})),

    model("gone", "tokenizer/vocab.json", r"No such file", None),
    model("gone", "tokenizer/merges.txt", r"No such file", None),
    model("not an object", "tokenizer/vocab.json", r"found .*, expected an object", b"[]", b'"a"'),
    model("ids", "tokenizer/vocab.json", r"line \d+: token \"a\": found (-1|1\.5|10{9}|a string|null|an object), ", *(
        text(TOKENS | {"a": v}) for v in ("x", 1.5, -1, None, 10**9, {}))),
    model("an id twice", "tokenizer/vocab.json", r"token \".*\": found id", text(TOKENS | {"zq": 5})),
    model("another alphabet", "tokenizer/vocab.json", r"found token .*byte-level alphabet",
          text(TOKENS | {"a b": 659}), text(TOKENS | {"": 659})),
    inputs("a vocabulary larger than the embedding", DRAW, r"66\d.*659|659.*66\d", demo_with(
        {"plain/tokenizer/vocab.json": text(TOKENS | {"zq": 659, "qz": 660})})),
    inputs("more tokens than the text encoder has places", DRAW,
           r"tokenizer_config\.json: model_max_length: found 100, expected .* 77", demo_with(
               {"plain/tokenizer/tokenizer_config.json": text({"model_max_length": 100})})),
    inputs("special tokens missing", DRAW, r"/plain/tokenizer/\w+\.json: .*found .*<\|(end|start)oftext\|>\", expected", demo_with(
        {"plain/tokenizer/vocab.json": text({k: v for k, v in TOKENS.items() if "|" not in k})})),
    model("lines", "tokenizer/merges.txt", r"line \d+: found \".*\", expected", *(
        MERGES + line for line in (b"a\n", b"a b c\n", b" a\n", b"a \n", b"zzzz qqqq\n",
                                   b"\xff\xfe\n"))),
    model("breaks off", "tokenizer/merges.txt", r'found no merge that makes ".*", expected one', b"",
          lambda old: b"\n".join(old.split(b"\n")[:50]), b"#version: 0.2\n"),
    config("tokenizer/tokenizer_config.json", "numbers", r"\$\.\w+: found .*, expected",
           edited(model_max_length=0), edited(model_max_length="x")),
    config("tokenizer/special_tokens_map.json", "tokens", r".*found .*, expected",
           edited(eos_token="nobody"), edited(pad_token=5), b"[]", b"{"),

    inputs("VQGAN gone", MIX, r"vqgan.*(No such file|nothing)",
           demo_with({"vqgan/model.safetensors": None})),
    inputs("VQGAN: tensors missing", MIX, r"/vqgan/model\.safetensors: .*(decoder|quant|encoder)",
           demo_with({"vqgan/model.safetensors": without("decoder.conv_out")}),
           demo_with({"vqgan/model.safetensors": without("quantize")}),
           demo_with({"vqgan/model.safetensors": without("")})),
    inputs("VQGAN: of another model", MIX, r"/vqgan/model\.safetensors: ", demo_with(
        {"vqgan/model.safetensors": (DEMO / f"plain/vae/{WEIGHTS}").read_bytes()})),
    inputs("CLIP gone", MOVE, r"/clip.*(No such file|nothing|no weights)",
           demo_with({"clip/model.safetensors": None}), demo_with({"clip/config.json": None})),
    inputs("CLIP: numbers", MOVE, r"/clip/config\.json: \$\.\S+: found .*, expected", demo_with(
        {"clip/config.json": edited(vision_config={"hidden_size": 0})}), demo_with(
        {"clip/config.json": edited(vision_config=[])}), demo_with(
        {"clip/config.json": edited(projection_dim=-1)})),
    inputs("CLIP: normalisation", MOVE, r"/clip/preprocessor_config\.json: .*found", demo_with(
        {"clip/preprocessor_config.json": edited(image_mean=[0.5])}), demo_with(
        {"clip/preprocessor_config.json": edited(image_std=[0, 1, 1])})),
    inputs("VGG gone", MOVE, r"lpips", demo_with({"lpips/vgg16.safetensors": None})),
    inputs("VGG: tensors missing", MOVE, r"/lpips/vgg16\.safetensors: .*features",
           demo_with({"lpips/vgg16.safetensors": without("features.28")})),
    inputs("heads: tensors missing", MOVE, r"/lpips/lpips\.safetensors: ",
           demo_with({"lpips/lpips.safetensors": without("lin4")})),
]
