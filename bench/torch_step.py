#!/usr/bin/env python3
"""The same SCVD training step in plain PyTorch (CPU, eager), beside ours, each in its own process.

    bench/torch_step.py build/bench_step            both, for the presets demo and small, in f32 and bf16
    bench/torch_step.py --twin FOLDER DTYPE STEPS   the PyTorch side alone, on a batch that bench_step dumped

Before anything is timed, the f32 twin must give our loss on our weights and our batch. Texts are padded to the longest
of the batch (kinder to PyTorch than the published 77). Needs torch, numpy and safetensors.
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def group_alike(score, labels, size):
    """model/groups.cpp: cut the batch into groups that stage 1 takes for each other."""
    left, groups = list(range(len(labels))), []
    while left:
        head = left[0]
        rank = lambda j: (j != head and labels[j] == labels[head], -1e30 if j == head else -(score[head][j] + score[j][head]), j)
        groups.append(sorted(left, key=rank)[:size])
        left = [j for j in left if j not in groups[-1]]
    return groups


def twin(folder, dtype, steps):
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    batch = json.load(open(f"{folder}/batch.json"))
    w = {k: v.clone().requires_grad_() for k, v in load_file(f"{folder}/weights.safetensors").items()}
    pixels = load_file(f"{folder}/pixels.safetensors")["pixels"]
    patch, stride, dim, layers, heads = batch["image"]
    tdim, tlayers, theads, _ = batch["text"]
    d = batch["embed"]
    B = len(batch["captions"])
    self_residual = batch["residual"] == "self"
    head_count = max(1, d // 64)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])

    def ln(x, name):
        return F.layer_norm(x, (x.shape[-1],), w[name + ".weight"], w[name + ".bias"])

    def lin(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    def gelu(x):
        return x * torch.sigmoid(1.702 * x)

    def split(x, h):
        return x.view(*x.shape[:-1], h, -1).transpose(-2, -3)

    def join(x):
        return x.transpose(-2, -3).flatten(-2)

    def self_attn(x, name, h, mask=None, causal=False):
        q, k, v = F.linear(x, w[name + ".in_proj_weight"], w[name + ".in_proj_bias"]).chunk(3, -1)
        y = F.scaled_dot_product_attention(split(q, h), split(k, h), split(v, h), attn_mask=mask, is_causal=causal)
        return lin(join(y), name + ".out_proj")

    def blocks(x, prefix, n, h, causal):
        for i in range(n):
            p = f"{prefix}transformer.resblocks.{i}."
            x = x + self_attn(ln(x, p + "ln_1"), p + "attn", h, causal=causal)
            x = x + lin(gelu(lin(ln(x, p + "ln_2"), p + "mlp.c_fc")), p + "mlp.c_proj")
        return x

    def encode_images():
        x = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
        x = F.conv2d(x, w["visual.conv1.weight"], stride=stride).flatten(2).transpose(1, 2)
        x = torch.cat([w["visual.class_embedding"].to(x.dtype).expand(B, 1, -1), x], 1) + w["visual.positional_embedding"]
        x = blocks(ln(x, "visual.ln_pre"), "visual.", layers, heads, False)
        return ln(x, "visual.ln_post") @ w["visual.proj"]

    def pad(texts):
        n = max(map(len, texts))
        return torch.tensor([t + [0] * (n - len(t)) for t in texts]), torch.tensor([len(t) - 1 for t in texts])

    def encode_texts(ids, eot):
        x = F.embedding(ids, w["token_embedding.weight"]) + w["positional_embedding"][: ids.shape[1]]
        x = blocks(x, "", tlayers, theads, True)
        return ln(x, "ln_final")[torch.arange(len(ids)), eot] @ w["text_projection"]

    def ffn(x, name):
        return lin(gelu(lin(x, name + ".up")), name + ".down")

    captions = pad(batch["captions"])
    flat = [p for prompts in batch["prompts"] for p in prompts]
    distinct = sorted(set(flat))  # equal prompts are encoded once, as ours are
    prompts_in = pad([batch["pool"][p] for p in distinct])
    prompt_row = torch.tensor([distinct.index(p) for p in flat])
    P = max(map(len, batch["prompts"]))
    where = torch.tensor([i * P + k for i, p in enumerate(batch["prompts"]) for k in range(len(p))])
    mask = torch.zeros(B * P, dtype=torch.bool)
    mask[where] = True
    mask = mask.view(B, P)
    labels = torch.tensor(batch["labels"])
    match = (labels[:, None] == labels[None, :]).float()

    def matching(scores, target):
        log_p = F.log_softmax(scores, 1)
        q = target / target.sum(1, keepdim=True)
        return (log_p.exp() * (log_p - (q + 1e-8).log())).sum(1).mean()

    def pair_stage(tokens, E, image_of, text_of, image_kv, tvl_q, sides):
        q, kv = tvl_q[text_of], image_kv[image_of]
        k, v = kv.chunk(2, -1)
        h = join(F.scaled_dot_product_attention(split(q, head_count), split(k, head_count), split(v, head_count)))
        h = ln(lin(h, "tvl.cross_attn.out_proj"), "tvl.ln2")
        L = ln(ffn(h, "tvl.ffn") + (h if self_residual else 0), "tvl.ln3")
        m = mask[text_of]
        if batch["vsr"] == "text":
            t = sides[text_of]
        else:
            vq, vkv = sides
            k, v = vkv[text_of].chunk(2, -1)
            g = F.scaled_dot_product_attention(split(vq[image_of], head_count), split(k, head_count), split(v, head_count), attn_mask=m[:, None, None, :])
            g = ln(lin(join(g), "vsr.cross_attn.out_proj"), "vsr.ln5")
            t = ln(ffn(g, "vsr.ffn") + (g if self_residual else 0), "vsr.ln6").amax(1)
        cosine = batch["sim"] == "cosine"
        a = F.cosine_similarity(t[:, None].float(), L.float(), dim=-1) if cosine else (t[:, None] * L).sum(-1).float() / d**0.5
        weights = a.sigmoid() if batch["norm"] == "sigmoid" else a.masked_fill(~m, float("-inf")).softmax(-1)
        f = (weights[..., None].to(L.dtype) * L).masked_fill(~m[..., None], float("-inf")).amax(1)
        y = ln(f + t, "dfa.ln7")
        return ffn(y, "dfa.ffn") + (y if self_residual else 0), t

    def loss():
        tokens = encode_images()
        text = encode_texts(*captions)
        E = torch.zeros(B * P, d, dtype=text.dtype).index_copy(0, where, encode_texts(*prompts_in)[prompt_row]).view(B, P, d)
        v, t = F.normalize(tokens[:, 0].float(), dim=1), F.normalize(text.float(), dim=1)
        s = v @ t.T / batch["temperature"]
        if batch["global"] == "itc":
            total = (F.cross_entropy(s, torch.arange(B)) + F.cross_entropy(s.T, torch.arange(B))) / 2
        else:
            total = matching(s, match) + matching(s.T, match)
        X = tokens[:, 1:]
        key = mask[:, None, None, :]
        S = ln(self_attn(E, "tvl.self_attn", head_count, key) + (E if self_residual else 0), "tvl.ln1")
        tvl_q, image_kv = lin(S, "tvl.cross_attn.q_proj"), lin(X, "tvl.cross_attn.kv_proj")
        if batch["vsr"] == "text":
            y = ln(self_attn(E, "vsr.self_attn", head_count, key) + (E if self_residual else 0), "vsr.ln4")
            y = ln(ffn(y, "vsr.ffn") + (y if self_residual else 0), "vsr.ln6")
            sides = y.masked_fill(~mask[..., None], float("-inf")).amax(1)
        else:
            y = ln(self_attn(X, "vsr.self_attn", head_count) + (X if self_residual else 0), "vsr.ln4")
            sides = lin(y, "vsr.cross_attn.q_proj"), lin(E, "vsr.cross_attn.kv_proj")
        groups = group_alike((v @ t.T).detach().double().tolist(), batch["labels"], int(batch["pairs"].split(":")[1]) + 1)
        size = len(groups[0])  # the presets' batches divide evenly
        G = torch.tensor(groups)
        image_of, text_of = G[:, :, None].expand(-1, -1, size).flatten(), G[:, None, :].expand(-1, size, -1).flatten()
        pv, pt = pair_stage(tokens, E, image_of, text_of, image_kv, tvl_q, sides)
        pv, pt = F.normalize(pv.float(), dim=1), F.normalize(pt.float(), dim=1)
        scores = (pv * pt).sum(1).view(-1, size, size) / batch["pair_temperature"]
        rows, cols = scores.flatten(0, 1), scores.transpose(1, 2).flatten(0, 1)
        if batch["pair"] == "itc":
            own = torch.arange(size).repeat(len(groups))
            return total + F.cross_entropy(rows, own) + F.cross_entropy(cols, own)
        own = torch.eye(size).repeat(len(groups), 1)
        return total + matching(rows, own) + matching(cols, own)

    bf16 = dtype == "bf16"
    optimizer = torch.optim.AdamW(list(w.values()), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    times, first = [], None
    for step in range(steps + 2):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        first = float(value.detach()) if first is None else first
        if step >= 2:
            times.append(1000 * (time.perf_counter() - start))
    gap = abs(first - batch["loss"]) / abs(batch["loss"])
    if not bf16 and gap > 1e-4:
        sys.exit(f"the twin's loss is {first}, ours {batch['loss']}: not the same model")
    print(json.dumps({"engine": "torch " + torch.__version__, "dtype": dtype, "ms_median": statistics.median(times), "ms_min": min(times), "ms_max": max(times),
                      "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "loss_gap": gap}))


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--twin":
        return twin(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    ours = sys.argv[1] if len(sys.argv) > 1 else "build/bench_step"
    for preset, steps in (("demo", 20), ("small", 4)):
        for dtype in ("f32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([ours, preset, dtype, "1", folder], check=True, stdout=subprocess.DEVNULL)
                # The dump run is not timed: it writes files. Both engines then run in fresh processes.
                a = json.loads(subprocess.run([ours, preset, dtype, str(steps)], check=True, capture_output=True, text=True).stdout)
                r = subprocess.run([sys.executable, __file__, "--twin", folder, dtype, str(steps)], check=True, capture_output=True, text=True)
                b = json.loads(r.stdout.splitlines()[-1])
            print(json.dumps(a), json.dumps(b), sep="\n")
            print(f"{preset} {dtype}: ours {a['ms_median']:.0f} ms, {a['peak_MB']:.0f} MB; torch {b['ms_median']:.0f} ms, {b['peak_MB']:.0f} MB; "
                  f"{b['ms_median'] / a['ms_median']:.2f}x faster, {a['peak_MB'] / b['peak_MB']:.2f}x the memory", flush=True)


if __name__ == "__main__":
    main()
