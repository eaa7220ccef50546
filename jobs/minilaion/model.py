"""A small CLIP in plain PyTorch: open_clip's architecture, parameter names and initialisation."""
import math

import torch
from torch import nn
from torch.nn import functional


class QuickGELU(torch.autograd.Function):
    """x sigmoid(1.702 x), keeping less for the way back than autograd would."""

    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(1.702 * x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, gradient):
        x, s = ctx.saved_tensors
        return gradient * (s * (1 + 1.702 * x * (1 - s)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, mask):
        n, length, width = x.shape
        qkv = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        a = (q * (width // self.heads) ** -0.5) @ k.transpose(-1, -2)
        a = (a if mask is None else a + mask).softmax(-1)
        return self.out_proj((a @ v).transpose(1, 2).reshape(n, length, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(QuickGELU.apply(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x, mask=None):
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads):
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        for b in self.resblocks:
            nn.init.normal_(b.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(b.attn.out_proj.weight, std=(2 * layers * width) ** -0.5)
            nn.init.normal_(b.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(b.mlp.c_proj.weight, std=(2 * layers * width) ** -0.5)
            for bias in (b.attn.out_proj.bias, b.mlp.c_fc.bias, b.mlp.c_proj.bias):
                nn.init.zeros_(bias)

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, embed_dim, image_size, patch_size, width, layers, head_width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn((image_size // patch_size) ** 2 + 1, width) * width**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // head_width)
        self.proj = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)

    def forward(self, x, keep=None):
        """keep [n][patches kept]: numbers of the patches that are not dropped."""
        x = self.conv1(x).flatten(2).transpose(1, 2) + self.positional_embedding[1:]
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        first = (self.class_embedding + self.positional_embedding[0]).expand(len(x), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([first, x], 1)))
        return self.ln_post(x[:, 0]) @ self.proj


class Clip(nn.Module):
    def __init__(self, config):
        super().__init__()
        vision, text, dim = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
        width = text["width"]
        self.visual = Visual(dim, vision["image_size"], vision["patch_size"], vision["width"], vision["layers"],
                             vision["head_width"])
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.randn(text["context_length"], width) * 0.01)
        self.transformer = Transformer(width, text["layers"], text["heads"])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, dim) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_image(self, x, keep=None):
        return self.visual(x, keep)

    def encode_text(self, tokens):
        """tokens [n][up to context]; the end of the text is its highest number."""
        length = tokens.shape[1]
        mask = torch.full((length, length), -math.inf).triu(1)
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, mask))
        return x[torch.arange(len(x)), tokens.argmax(1)] @ self.text_projection

    def encode_texts(self, tokens, groups=4):
        """The same, with texts of like length together: most are half as long as the longest."""
        lengths = tokens.argmax(1) + 1
        order = lengths.argsort()
        parts = [self.encode_text(tokens[rows, : int(lengths[rows].max())]) for rows in order.chunk(groups)]
        return torch.cat(parts)[order.argsort()]
