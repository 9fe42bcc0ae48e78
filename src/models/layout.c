/* layout.c: the layouts, as tables of names. Each names the function of the original that
 * turns the same names into the same others. Leaves the work to layout_rules.c. */
#include "models/layout.h"

#include "models/layout_rules.h"
#include "models/shapes.h"

#define NAME(from, to)                                                                   \
    {                                                                                    \
        from, to, NULL, COUNT_SAME                                                       \
    }
#define NAMES(from, to, rest)                                                            \
    {                                                                                    \
        from, to, rest, COUNT_SAME                                                       \
    }
#define END                                                                              \
    {                                                                                    \
        NULL, NULL, NULL, COUNT_SAME                                                     \
    }

/* UNet (diffusers: loaders/single_file_utils.py, convert_ldm_unet_checkpoint) */

/* update_unet_resnet_ldm_to_diffusers */
static const struct layout_rule unet_resnet[] = {
    NAME("in_layers.0", "norm1"),
    NAME("in_layers.2", "conv1"),
    NAME("out_layers.0", "norm2"),
    NAME("out_layers.3", "conv2"),
    NAME("emb_layers.1", "time_emb_proj"),
    NAME("skip_connection", "conv_shortcut"),
    END,
};

static const struct layout_rule unet_rules[] = {
    NAME("time_embed.0", "time_embedding.linear_1"),
    NAME("time_embed.2", "time_embedding.linear_2"),
    NAME("input_blocks.0.0", "conv_in"),
    NAME("out.0", "conv_norm_out"),
    NAME("out.2", "conv_out"),
    {"input_blocks.#.0.op", "down_blocks.#.downsamplers.0.conv", NULL, COUNT_DOWN},
    {"input_blocks.#.0", "down_blocks.#.resnets.#", unet_resnet, COUNT_DOWN},
    {"input_blocks.#.1", "down_blocks.#.attentions.#", NULL, COUNT_DOWN},
    NAMES("middle_block.0", "mid_block.resnets.0", unet_resnet),
    NAME("middle_block.1", "mid_block.attentions.0"),
    NAMES("middle_block.2", "mid_block.resnets.1", unet_resnet),
    {"output_blocks.#.0", "up_blocks.#.resnets.#", unet_resnet, COUNT_UP},
    {"output_blocks.#.1.conv", "up_blocks.#.upsamplers.0.conv", NULL, COUNT_UP},
    {"output_blocks.#.1", "up_blocks.#.attentions.#", NULL, COUNT_UP},
    {"output_blocks.#.2.conv", "up_blocks.#.upsamplers.0.conv", NULL, COUNT_UP},
    END,
};

bool layout_unet(struct tensor_file *t, struct err *e)
{
    bool kept;
    int layers = 0;
    if (!layout_keep(t, "model.diffusion_model.", &kept, e))
        return false;
    if (!shapes_at(t, "input_blocks.0.0.weight"))
        return true;
    while (shapes_at(t, "input_blocks.%d.0.in_layers.2.weight", layers + 1))
        layers++;
    return layout_rename(t, unet_rules, layers, e);
}

/* VAE */

/* update_vae_resnet_ldm_to_diffusers */
static const struct layout_rule vae_resnet[] = {
    NAME("nin_shortcut", "conv_shortcut"),
    END,
};

/* update_vae_attentions_ldm_to_diffusers */
static const struct layout_rule vae_attention[] = {
    NAME("norm", "group_norm"),
    NAME("q", "to_q"),
    NAME("k", "to_k"),
    NAME("v", "to_v"),
    NAME("proj_out", "to_out.0"),
    END,
};

/* convert_ldm_vae_checkpoint */
static const struct layout_rule vae_rules[] = {
    NAME("encoder.norm_out", "encoder.conv_norm_out"),
    NAMES("encoder.down.#.block.#", "encoder.down_blocks.#.resnets.#", vae_resnet),
    NAME("encoder.down.#.downsample.conv", "encoder.down_blocks.#.downsamplers.0.conv"),
    NAMES("encoder.mid.block_1", "encoder.mid_block.resnets.0", vae_resnet),
    NAMES("encoder.mid.block_2", "encoder.mid_block.resnets.1", vae_resnet),
    NAMES("encoder.mid.attn_1", "encoder.mid_block.attentions.0", vae_attention),
    NAME("decoder.norm_out", "decoder.conv_norm_out"),
    {"decoder.up.#.block.#", "decoder.up_blocks.#.resnets.#", vae_resnet, COUNT_MIRROR},
    {"decoder.up.#.upsample.conv", "decoder.up_blocks.#.upsamplers.0.conv", NULL,
     COUNT_MIRROR},
    NAMES("decoder.mid.block_1", "decoder.mid_block.resnets.0", vae_resnet),
    NAMES("decoder.mid.block_2", "decoder.mid_block.resnets.1", vae_resnet),
    NAMES("decoder.mid.attn_1", "decoder.mid_block.attentions.0", vae_attention),
    END,
};

/* diffusers: ModelMixin._convert_deprecated_attention_blocks */
static const struct layout_rule old_attention[] = {
    NAME("query", "to_q"),
    NAME("key", "to_k"),
    NAME("value", "to_v"),
    NAME("proj_attn", "to_out.0"),
    END,
};

static const struct layout_rule old_vae_rules[] = {
    NAMES("encoder.mid_block.attentions.#", "encoder.mid_block.attentions.#",
          old_attention),
    NAMES("decoder.mid_block.attentions.#", "decoder.mid_block.attentions.#",
          old_attention),
    END,
};

bool layout_vae(struct tensor_file *t, struct err *e)
{
    bool kept;
    int levels = 0;
    if (!layout_keep(t, "first_stage_model.", &kept, e))
        return false;
    while (shapes_at(t, "decoder.up.%d.block.0.conv1.weight", levels))
        levels++;
    if (!layout_rename(t, levels ? vae_rules : old_vae_rules, levels, e))
        return false;
    layout_flatten(t, ".attentions."); /* conv_attn_to_linear */
    return true;
}

/* CLIP */

/* DIFFUSERS_TO_LDM_MAPPING["openclip"]["transformer"] */
static const struct layout_rule open_clip_layer[] = {
    NAME("ln_1", "layer_norm1"),
    NAME("ln_2", "layer_norm2"),
    NAME("mlp.c_fc", "mlp.fc1"),
    NAME("mlp.c_proj", "mlp.fc2"),
    NAME("attn.in_proj_weight", "self_attn.in_proj.weight"),
    NAME("attn.in_proj_bias", "self_attn.in_proj.bias"),
    NAME("attn", "self_attn"),
    END,
};

/* convert_open_clip_checkpoint */
static const struct layout_rule open_clip_rules[] = {
    NAME("positional_embedding", "embeddings.position_embedding.weight"),
    NAME("token_embedding", "embeddings.token_embedding"),
    NAME("ln_final", "final_layer_norm"),
    NAMES("transformer.resblocks.#", "encoder.layers.#", open_clip_layer),
    END,
};

bool layout_clip_text(struct tensor_file *t, struct err *e)
{
    bool kept;
    if (!layout_keep(t, "cond_stage_model.model.", &kept, e))
        return false;
    if (kept)
        return layout_rename(t, open_clip_rules, 0, e) && layout_split(t, e);
    /* convert_ldm_clip_checkpoint; transformers has saved CLIPTextModel with the second
     * prefix and, from version 5, without. */
    return layout_keep(t, "cond_stage_model.transformer.", &kept, e) &&
           layout_keep(t, "text_model.", &kept, e);
}

bool layout_clip_vision(struct tensor_file *t, struct err *e)
{
    static const struct layout_rule rules[] = {
        NAME("embeddings", "vision_model.embeddings"),
        NAME("pre_layrnorm", "vision_model.pre_layrnorm"),
        NAME("encoder", "vision_model.encoder"),
        NAME("post_layernorm", "vision_model.post_layernorm"),
        END,
    };
    return layout_rename(t, rules, 0, e);
}

/* VQGAN, VGG16 */

bool layout_vqgan(struct tensor_file *t, struct err *e)
{
    bool kept;
    return shapes_at(t, "quantize.embedding.weight") ||
           layout_keep(t, "first_stage_model.", &kept, e);
}

bool layout_vgg(struct tensor_file *t, struct err *e)
{
    /* lpips: pretrained_networks.py, vgg16, whose slices keep torchvision's numbers */
    static const struct layout_rule rules[] = {
        NAME("net.slice1", "features"), NAME("net.slice2", "features"),
        NAME("net.slice3", "features"), NAME("net.slice4", "features"),
        NAME("net.slice5", "features"), END,
    };
    return layout_rename(t, rules, 0, e);
}
