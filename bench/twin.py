"""The whole model in plain PyTorch, with our parameters' names, on a batch that MadeUpStep dumped: the reference that the
engine is held to, and the peer that it is timed against.

Texts: "trim" pads captions to the longest caption and every distinct prompt to the longest prompt of the batch; "pad77" pads
every caption and every prompt of every caption to the context length, as published codes do."""
import json

import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def gelu(x):
    return x * torch.sigmoid(1.702 * x)


def split(x, h):
    return x.unflatten(-1, (h, -1)).transpose(-2, -3)


def join(x):
    return x.transpose(-2, -3).flatten(-2)


def group_alike(score, labels, size):
    """model/groups.cpp: cut the batch into groups that stage 1 takes for each other -> [groups, size]. Asks the host nothing: a step that waits
    here would find the GPU idle behind it. score: cosines. The batch divides evenly."""
    both, groups = score.double() + score.double().T, []
    left = torch.ones_like(labels, dtype=torch.bool)
    for _ in range(len(labels) // size):
        head = left.byte().argmax(0, keepdim=True)  # the first that is left
        worth = both.index_select(0, head)[0] - 10.0 * (labels == labels.index_select(0, head))  # the same person last
        worth = worth.masked_fill(~left, float("-inf")).index_fill(0, head, float("inf"))
        groups.append(worth.argsort(descending=True, stable=True)[:size])
        left = left.index_fill(0, groups[-1], False)
    return torch.stack(groups)


class SelfAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight, self.in_proj_bias = nn.Parameter(torch.empty(3 * d, d)), nn.Parameter(torch.empty(3 * d))
        self.out_proj = nn.Linear(d, d)

    def forward(self, x, mask=None, causal=False):
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        h = self.heads
        return self.out_proj(join(F.scaled_dot_product_attention(split(q, h), split(k, h), split(v, h), attn_mask=mask, is_causal=causal)))


class FeedForward(nn.Module):
    def __init__(self, d, hidden, up, down):
        super().__init__()
        self.names = up, down
        self.add_module(up, nn.Linear(d, hidden))
        self.add_module(down, nn.Linear(hidden, d))

    def forward(self, x):
        up, down = self.names
        return getattr(self, down)(gelu(getattr(self, up)(x)))


class Block(nn.Module):
    def __init__(self, d, heads, causal):
        super().__init__()
        self.causal = causal
        self.ln_1, self.attn = nn.LayerNorm(d), SelfAttention(d, heads)
        self.ln_2, self.mlp = nn.LayerNorm(d), FeedForward(d, 4 * d, "c_fc", "c_proj")

    def forward(self, x):
        x = x + self.attn(self.ln_1(x), causal=self.causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, d, layers, heads, causal):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(d, heads, causal) for _ in range(layers))

    def forward(self, x):
        for block in self.resblocks:
            x = block(x)
        return x


class Visual(nn.Module):
    def __init__(self, b):
        super().__init__()
        patch, stride, d, layers, heads = b["image"]
        h, w = b["size"]
        tokens = ((h - patch) // stride + 1) * ((w - patch) // stride + 1) + 1
        for name, value in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self.conv1 = nn.Conv2d(3, d, patch, stride, bias=False)
        self.class_embedding, self.positional_embedding = nn.Parameter(torch.empty(d)), nn.Parameter(torch.empty(tokens, d))
        self.ln_pre, self.transformer, self.ln_post = nn.LayerNorm(d), Transformer(d, layers, heads, False), nn.LayerNorm(d)
        self.proj = nn.Parameter(torch.empty(d, b["embed"]))

    def forward(self, pixels):
        x = ((pixels.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2).contiguous().to(self.conv1.weight.dtype)
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))) @ self.proj


class Cross(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.q_proj, self.kv_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)

    def forward(self, q, kv, heads, mask=None):
        k, v = kv.chunk(2, -1)
        return self.out_proj(join(F.scaled_dot_product_attention(split(q, heads), split(k, heads), split(v, heads), attn_mask=mask)))


class Interaction(nn.Module):
    """TVL, VSR and DFA; what one side has alone is computed once, forward() is what every pair costs."""

    def __init__(self, b):
        super().__init__()
        d = b["embed"]
        self.heads, self.residual, self.pair, self.cosine, self.sigmoid = max(1, d // 64), b["residual"] == "self", b["vsr"] == "pair", b["sim"] == "cosine", b["norm"] == "sigmoid"
        side = lambda names: nn.ModuleDict({n: nn.LayerNorm(d) for n in names} | {"ffn": FeedForward(d, b["ffn"] * d, "up", "down")})
        self.tvl, self.vsr, self.dfa = side(["ln1", "ln2", "ln3"]), side(["ln4", "ln6"] + ["ln5"] * self.pair), side(["ln7"])
        self.tvl["self_attn"], self.vsr["self_attn"], self.tvl["cross_attn"] = SelfAttention(d, self.heads), SelfAttention(d, self.heads), Cross(d)
        if self.pair:
            self.vsr["cross_attn"] = Cross(d)

    def around(self, f, x):
        return f(x) + x if self.residual else f(x)

    def image_side(self, tokens):  # [B, 1+N, d] -> keys and values of patches, VSR's queries
        x = tokens[:, 1:]
        q = self.vsr["cross_attn"].q_proj(self.vsr["ln4"](self.around(self.vsr["self_attn"], x))) if self.pair else None
        return self.tvl["cross_attn"].kv_proj(x), q

    def text_side(self, e, mask):  # [B, P, d], True where a prompt is -> TVL's queries, VSR's keys and values or the text's own t
        key = mask[:, None, None, :]
        q = self.tvl["cross_attn"].q_proj(self.tvl["ln1"](self.around(lambda x: self.tvl["self_attn"](x, key), e)))
        if self.pair:
            return q, self.vsr["cross_attn"].kv_proj(e)
        y = self.vsr["ln4"](self.around(lambda x: self.vsr["self_attn"](x, key), e))
        return q, self.vsr["ln6"](self.around(self.vsr["ffn"], y)).masked_fill(~mask[..., None], float("-inf")).amax(1)

    def forward(self, tvl_q, tvl_kv, vsr_q, vsr_kv, mask):
        h = self.tvl["ln2"](self.tvl["cross_attn"](tvl_q, tvl_kv, self.heads))
        L = self.tvl["ln3"](self.around(self.tvl["ffn"], h))
        if self.pair:
            g = self.vsr["ln5"](self.vsr["cross_attn"](vsr_q, vsr_kv, self.heads, mask[:, None, None, :]))
            t = self.vsr["ln6"](self.around(self.vsr["ffn"], g)).amax(1)
        else:
            t = vsr_kv
        a = F.cosine_similarity(t[:, None].float(), L.float(), dim=-1) if self.cosine else (t[:, None] * L).sum(-1).float() / t.shape[-1] ** 0.5
        w = a.sigmoid() if self.sigmoid else a.masked_fill(~mask, float("-inf")).softmax(-1)
        f = (w[..., None].to(L.dtype) * L).masked_fill(~mask[..., None], float("-inf")).amax(1)
        return self.around(self.dfa["ffn"], self.dfa["ln7"](f + t)), t


def pad(texts, width, device):
    n = width or max(map(len, texts))
    return torch.tensor([t + [0] * (n - len(t)) for t in texts], device=device), torch.tensor([len(t) - 1 for t in texts], device=device)


class Twin(nn.Module):
    def __init__(self, batch, pixels, texts="trim", device="cpu"):
        super().__init__()
        b = self.b = batch
        d, (td, tlayers, theads, context, vocab) = b["embed"], b["text"]
        self.visual = Visual(b)
        self.token_embedding, self.positional_embedding = nn.Embedding(vocab, td), nn.Parameter(torch.empty(context, td))
        self.transformer, self.ln_final = Transformer(td, tlayers, theads, True), nn.LayerNorm(td)
        self.text_projection = nn.Parameter(torch.empty(td, d))
        self.interaction = Interaction(b)
        self.pixels, self.to_device = pixels.to(device), device
        width = context if texts == "pad77" else 0
        self.captions = pad(b["captions"], width, device)
        flat = [p for prompts in b["prompts"] for p in prompts]
        kinds = flat if texts == "pad77" else sorted(set(flat))  # equal prompts once, as ours are
        self.prompts_in = pad([b["pool"][p] for p in kinds], width, device)
        self.row = torch.tensor(range(len(flat)) if texts == "pad77" else [kinds.index(p) for p in flat], device=device)
        B, P = len(b["captions"]), max(map(len, b["prompts"]))
        self.where = torch.tensor([i * P + k for i, p in enumerate(b["prompts"]) for k in range(len(p))], device=device)
        mask = torch.zeros(B * P, dtype=torch.bool, device=device)
        mask[self.where] = True
        self.mask = mask.view(B, P)
        self.labels = torch.tensor(b["labels"], device=device)
        self.match = (self.labels[:, None] == self.labels[None, :]).float()

    def load(self, weights):
        """Our checkpoint's tensors; every name must be there and no other."""
        if "classifier.weight" in weights:
            raise ValueError("the twin has no identity loss")
        self.load_state_dict({("interaction." + k if k.split(".")[0] in ("tvl", "vsr", "dfa") else k): v for k, v in weights.items()}, strict=True)
        return self.to(self.to_device)

    def encode_texts(self, ids, eot):
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.transformer(x)
        return self.ln_final(x)[torch.arange(len(ids), device=ids.device), eot] @ self.text_projection

    @staticmethod
    def matching(scores, target):
        log_p = F.log_softmax(scores, 1)
        q = target / target.sum(1, keepdim=True)
        return (log_p.exp() * (log_p - (q + 1e-8).log())).sum(1).mean()

    def global_loss(self, v, t):
        a, b, tau = F.normalize(v, dim=1), F.normalize(t, dim=1), self.b["temperature"]
        if self.b["global"] == "itc":
            own = torch.arange(len(v), device=v.device)
            return (F.cross_entropy(a @ b.T / tau, own) + F.cross_entropy(b @ a.T / tau, own)) / 2
        if self.b["global"] == "cmpm":
            return self.matching(v @ b.T, self.match) + self.matching(t @ a.T, self.match)
        return self.matching(a @ b.T / tau, self.match) + self.matching(b @ a.T / tau, self.match)

    def pair_loss(self, v, t, groups, size):
        b, kind = self.b, self.b["pair"]
        a, c = F.normalize(v, dim=1), F.normalize(t, dim=1)
        scale = 1 if kind == "cmpm" else 1 / b["pair_temperature"]
        by_image, by_text = (v, c) if kind == "cmpm" else (a, c), (a, t) if kind == "cmpm" else (a, c)
        rows = (by_image[0] * by_image[1]).sum(1).view(-1, size, size).mul(scale).flatten(0, 1)
        cols = (by_text[0] * by_text[1]).sum(1).view(-1, size, size).mul(scale).transpose(1, 2).flatten(0, 1)
        own = torch.arange(size, device=v.device).repeat(groups)
        if kind == "itc":
            return F.cross_entropy(rows, own) + F.cross_entropy(cols, own)
        target = F.one_hot(own, size).float()
        return self.matching(rows, target) + self.matching(cols, target)

    def loss(self):
        b, B = self.b, len(self.mask)
        tokens, text = self.visual(self.pixels), self.encode_texts(*self.captions)
        e = torch.zeros(self.mask.numel(), b["embed"], dtype=text.dtype, device=text.device)
        e = e.index_copy(0, self.where, self.encode_texts(*self.prompts_in)[self.row]).view(*self.mask.shape, -1)
        v, t = tokens[:, 0].float(), text.float()
        total = self.global_loss(v, t)
        kv, vq = self.interaction.image_side(tokens)
        tq, other = self.interaction.text_side(e, self.mask)
        size = B if b["pairs"] == "all" else min(B, int(b["pairs"].split(":")[1]) + 1)
        g = group_alike((F.normalize(v, dim=1) @ F.normalize(t, dim=1).T).detach(), self.labels, size)
        i, j = g[:, :, None].expand(-1, -1, size).flatten(), g[:, None, :].expand(-1, size, -1).flatten()
        pv, pt = self.interaction(tq[j], kv[i], None if vq is None else vq[i], other[j], self.mask[j])
        return total + self.pair_loss(pv.float(), pt.float(), len(g), size)

    def compile_regions(self, mode):
        """torch.compile of what repeats: residual blocks and the pair stage."""
        for m in self.modules():
            if isinstance(m, (Block, Interaction)):
                m.compile(mode=mode, dynamic=False)


def load(folder, texts="trim", device="cpu"):
    """The twin of a dumped step -> (Twin, the dumped description)."""
    from safetensors.torch import load_file
    batch = json.load(open(f"{folder}/batch.json"))
    t = Twin(batch, load_file(f"{folder}/pixels.safetensors")["pixels"], texts, device)
    return t.load(load_file(f"{folder}/weights.safetensors")), batch


class Trainer:
    """Forward under autocast, backward, clipping to 1, fused AdamW: a step as ours is."""

    def __init__(self, twin, dtype):
        self.twin, self.bf16 = twin, dtype == "bf16"
        self.params = list(twin.parameters())
        self.opt = torch.optim.AdamW(self.params, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def backward(self):
        with torch.autocast(self.params[0].device.type, torch.bfloat16, enabled=self.bf16):
            value = self.twin.loss()
        value.backward()
        return value

    def run(self):
        torch.compiler.cudagraph_mark_step_begin()
        value = self.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.opt.step()
        self.opt.zero_grad()
        return value
