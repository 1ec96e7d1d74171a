"""The engine inside a PyTorch process, through libscvd_bench.so (bench/capi.cpp): its kernels on PyTorch's tensors, on one
stream, and its whole training step. Struct layouts are those of engine/view.h and ops/kernels.h; sizes are checked."""
import ctypes as C
import os
import tempfile

import torch

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2, torch.int32: 3, torch.uint8: 4}
SKIP, WRITE, ACCUMULATE = 0, 1, 2


class View(C.Structure):
    _fields_ = [("p", C.c_void_p), ("dtype", C.c_uint8), ("rows", C.c_int64), ("cols", C.c_int64), ("pitch", C.c_int64)]


class Out(View):
    _fields_ = [("mode", C.c_uint8)]


def struct(name, *fields):
    return type(name, (C.Structure,), {"_fields_": [(n, t) for t, names in fields for n in names.split()]})


Seqs = struct("Seqs", (View, "q_begin q_len o_begin k_begin k_len"), (C.c_bool, "shared"), (C.c_int, "max_q max_k"), (C.c_int64, "k_rows"))
ARGS = {
    "scale": struct("Scale", (View, "x"), (Out, "y"), (C.c_double, "s")),
    "add": struct("Add", (View, "a b"), (Out, "y")),
    "transpose": struct("Transpose", (View, "x"), (Out, "y")),
    "dot": struct("Dot", (View, "a b"), (Out, "y")),
    "row_sum": struct("RowSum", (View, "x"), (Out, "y")),
    "quick_gelu_forward": struct("QuickGeluFwd", (View, "x"), (Out, "y")),
    "quick_gelu_backward": struct("QuickGeluBwd", (View, "dy x"), (Out, "dx")),
    "gemm": struct("Gemm", (View, "a b bias residual"), (Out, "c pre"), (C.c_bool, "ta tb gelu")),
    "layer_norm_forward": struct("LayerNormFwd", (View, "x gamma beta"), (Out, "y mean rstd"), (C.c_float, "eps")),
    "layer_norm_backward": struct("LayerNormBwd", (View, "dy x gamma mean rstd"), (Out, "dx dgamma dbeta")),
    "attention_forward": struct("AttentionFwd", (View, "q k v"), (Seqs, "seqs"), (Out, "y lse"), (C.c_int, "heads"), (C.c_double, "scale"), (C.c_bool, "causal")),
    "attention_backward": struct("AttentionBwd", (View, "dy q k v y lse"), (Seqs, "seqs"), (Out, "dq dk dv"), (C.c_int, "heads"), (C.c_double, "scale"), (C.c_bool, "causal")),
    "softmax_xent_forward": struct("XentFwd", (View, "logits target"), (Out, "loss lse")),
    "softmax_xent_backward": struct("XentBwd", (View, "dloss logits target lse"), (Out, "dlogits")),
    "matching_forward": struct("MatchingFwd", (View, "scores match"), (Out, "loss lse"), (C.c_double, "scale eps")),
    "matching_backward": struct("MatchingBwd", (View, "dloss scores match loss lse"), (Out, "dscores"), (C.c_double, "scale eps")),
    "adamw": struct("AdamW", (Out, "master compute grad m v"), (View, "lr decay ends scalars"), (C.c_float, "beta1 beta2 eps")),
    "patchify": struct("Patchify", (View, "pixels augment"), (Out, "y"), (C.c_int, "height width patch stride"), (C.c_float * 3, "mean std fill")),
}


def view(t, first=0, cols=None):
    """A matrix as kernels see it; columns [first, first+cols) of a wider one keep its pitch."""
    if t is None:
        return View()
    assert t.is_contiguous()
    width = t.shape[-1]
    v = View(t.data_ptr() + first * t.element_size(), DTYPES[t.dtype], t.numel() // width, cols or width, width)
    v.tensor = t  # lives as long as the view
    return v


def out(t, mode=WRITE, first=0, cols=None):
    if t is None:
        return Out(mode=SKIP)
    v = view(t, first, cols)
    o = Out(v.p, v.dtype, v.rows, v.cols, v.pitch, mode)
    o.tensor = t
    return o


class Engine:
    def __init__(self, path, device):
        """device: "cpu" or "cuda". Errors: no such library, another layout of the structs, a build or machine without CUDA."""
        self.device, self._device, self.peers_only = device, 1 if device == "cuda" else 0, False
        self.lib = C.CDLL(os.path.abspath(path))
        self.lib.scvd_error.restype = self.lib.scvd_sources.restype = C.c_char_p
        self.lib.scvd_step_open.restype = C.c_void_p
        self.lib.scvd_step_peak_bytes.restype = C.c_double
        self._size = {}
        for name, cls in ARGS.items():
            f = getattr(self.lib, "scvd_size_" + name)
            f.restype = C.c_size_t
            if f() != C.sizeof(cls):
                raise RuntimeError(f"{path}: {name}'s arguments are {f()} bytes, bench/engine.py has {C.sizeof(cls)}")
        self.lt = device == "cuda" and hasattr(self.lib, "peer_cublaslt_open")
        if self.lt:
            self.lib.peer_cublaslt_open.restype = C.c_void_p

    def check(self, status):
        if status:
            raise RuntimeError(self.lib.scvd_error().decode())

    def sources(self, kind):
        return self.lib.scvd_sources(1 if kind == "step" else 0).decode()

    def stream(self):
        s = C.c_void_p()
        self.check(self.lib.scvd_stream(C.byref(s)))
        return torch.cuda.ExternalStream(s.value)

    def kernel(self, name, **args):
        """A function of nothing that enqueues one kernel; it keeps the tensors behind `args` alive."""
        f, a, device = getattr(self.lib, "scvd_run_" + name), ARGS[name](**args), self._device
        p = C.byref(a)

        def run():
            if f(device, p):
                self.check(1)

        run.args = args
        return run

    def cublaslt(self, **args):
        """cuBLASLt's best of 16 for these GemmArgs: a function of nothing, or None where there is no cuBLASLt."""
        if not self.lt:
            return None
        a, tried = ARGS["gemm"](**args), C.c_int(0)
        peer = self.lib.peer_cublaslt_open(C.byref(a), C.byref(tried))
        if not peer:
            self.check(1)
        p, f, handle = C.byref(a), self.lib.peer_cublaslt_run, C.c_void_p(peer)

        def run():
            if f(handle, p):
                self.check(1)

        run.args, run.tried = args, tried.value
        run.like = lambda **other: self._cublaslt_again(handle, other)
        return run

    def _cublaslt_again(self, handle, args):  # the chosen way on other buffers of the same shapes
        a, f = ARGS["gemm"](**args), self.lib.peer_cublaslt_run
        p = C.byref(a)

        def run():
            if f(handle, p):
                self.check(1)

        run.args = args
        return run


class Step:
    """The engine's training step of a preset on a made-up batch."""

    def __init__(self, engine, preset, dtype, batch, pairs=""):
        self.e = engine
        self.h = engine.lib.scvd_step_open(preset.encode(), dtype.encode(), pairs.encode(), batch, engine._device)
        engine.check(0 if self.h else 1)
        self.h = C.c_void_p(self.h)

    def close(self):
        self.e.check(self.e.lib.scvd_step_close(self.h))

    def dump(self, folder=None):
        folder = folder or tempfile.mkdtemp(prefix="scvd-step-")
        self.e.check(self.e.lib.scvd_step_dump(self.h, folder.encode()))
        return folder

    def backward(self):
        loss = C.c_double()
        self.e.check(self.e.lib.scvd_step_backward(self.h, C.byref(loss)))
        return loss.value

    def run(self):
        self.e.check(self.e.lib.scvd_step_run(self.h))

    def peak_bytes(self):
        return self.e.lib.scvd_step_peak_bytes(self.h)

    def gradients(self):
        """{name: gradient as a PyTorch tensor on the CPU}, float32."""
        grads, name, v, i = {}, C.c_char_p(), View(), 0
        while not self.e.lib.scvd_step_gradient(self.h, i, C.byref(name), C.byref(v)):
            t = torch.empty(v.rows * v.cols, dtype=torch.float32, device=self.e.device)
            one = View(v.p, v.dtype, 1, v.rows * v.cols, v.rows * v.cols)
            self.e.kernel("scale", x=one, y=out(t.view(1, -1)), s=1.0)()
            if self.e.device == "cuda":
                torch.cuda.synchronize()
            grads[name.value.decode()] = t.cpu()
            i += 1
        return grads
