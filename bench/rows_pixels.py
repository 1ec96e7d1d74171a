"""From bytes of pictures to rows of normalised, augmented patches. Peer: torchvision's v2 transforms on the same device, one
draw for the whole batch (ours draws for each picture), then the cut into patches."""
import torch

import timing
from engine import out, view
from rows import Built, Row, try_peers
from rows_memory import MEAN, STD


def patches_row(name, images, H, W, patch, device, **extra):
    B = images

    def build(e):
        n = timing.copies(B * H * W * 9, device)
        sets = [torch.randint(256, (B, H, W, 3), device=device, dtype=torch.uint8) for _ in range(n)]
        P, C = (H // patch) * (W // patch), 3 * patch * patch
        y, got = torch.empty(B * P, C, device=device, dtype=torch.bfloat16), []
        plain = torch.zeros(B, 8, dtype=torch.int32, device=device)
        drawn = plain.clone()
        for b in range(B):  # flip, shift by up to 10, erase a tenth of the picture
            drawn[b] = torch.tensor([b % 2, b % 21 - 10, b % 13 - 6, b % (H // 2), b % (W // 2), H // 4, W // 3, 0], dtype=torch.int32)
        three = lambda v: (v[0], v[1], v[2])

        def ours(augment):
            return [e.kernel("patchify", pixels=view(x.view(B, -1)), augment=view(augment), y=out(y), height=H, width=W, patch=patch, stride=patch,
                             mean=three(MEAN), std=three(STD), fill=(0.0, 0.0, 0.0)) for x in sets]

        def cut(x):  # [B,3,H,W] -> rows in the order of conv1.weight
            return x.unfold(2, patch, patch).unfold(3, patch, patch).permute(0, 2, 3, 1, 4, 5).reshape(B * P, C)

        mean, std = (torch.tensor(v, device=device) for v in (MEAN, STD))
        nothing = torch.zeros(1, 1, 1, device=device)

        def torchvision(augmented):
            """v2.Normalize and v2.RandomErasing bring their constants from the host in every call, which waits for the GPU and cannot be
            captured: here the same functions have them on the GPU."""
            from torchvision.transforms import RandomErasing, v2
            draw = [v2.RandomHorizontalFlip(0.5), v2.Pad(10), v2.RandomCrop((H, W))] if augmented else []
            prepare = v2.Compose(draw + [v2.ToDtype(torch.float32, scale=True)])

            def run(i):
                x = v2.functional.normalize_image(prepare(sets[i % n].permute(0, 3, 1, 2)), mean, std, inplace=True)
                if augmented:
                    top, left, h, w, _ = RandomErasing.get_params(x, (0.02, 0.4), (0.3, 3.3), [0.0])
                    x = v2.functional.erase_image(x, top, left, h, w, nothing, inplace=True)
                got[:] = [cut(x).bfloat16()]
            return run

        def reference():
            x = sets[0].permute(0, 3, 1, 2).double() / 255
            m, s = (torch.tensor(v, device=device, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, STD))
            return [cut((x - m) / s)]

        have, lack = try_peers({"torchvision": lambda: torchvision(True)})
        # Values are held to the reference without augmentation; what is timed draws it.
        results, checked = {}, {}
        if e and not e.peers_only:
            check, timed = ours(plain), ours(drawn)
            have = {"ours": lambda i: timed[i % n]()} | have
            checked["ours"] = lambda: (check[0](), [y])[1]
        for name_ in have:
            if name_ != "ours":
                plainly = torchvision(False)
                checked[name_] = lambda: (plainly(0), got)[1]
        results = checked
        b = Built(have, n, results, reference, lambda: y.fill_(float("nan")))
        b.lacking = lack
        return b

    return Row(name, [B, H, W], 8.0 * B * H * W * 3, B * H * W * 3 * 3.0, build, extra=extra)
