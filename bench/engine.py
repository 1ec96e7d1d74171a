"""The engine inside a PyTorch process, through libscvd_bench.so (bench/capi.cpp): its kernels on PyTorch's tensors, on one
stream, and its whole training step."""
import ctypes as C
import functools
import os

import torch

import abi
from abi import ACCUMULATE, ARGS, SKIP, WRITE, Out, Seqs, View

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2, torch.int32: 3, torch.uint8: 4}


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
        self.lib = abi.load(os.path.abspath(path))
        self.lib.scvd_step_peak_bytes.restype = C.c_double
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

    def _enqueue(self, call, args):
        """A function of nothing that makes `call`, a C function that returns 0; it keeps the tensors behind `args` alive."""
        def run():
            if call():
                self.check(1)

        run.args = args
        return run

    def kernel(self, name, **args):
        """A function of nothing that enqueues one kernel."""
        return self._enqueue(functools.partial(getattr(self.lib, "scvd_run_" + name), self._device, C.byref(ARGS[name](**args))), args)

    def gemm_tiles(self, width, peers, **args):
        """As kernel("gemm", ...), by Hopper's kernel with tiles of this width, blocks alone (1) or in pairs (2)."""
        return self._enqueue(functools.partial(self.lib.scvd_gemm_tiles, C.byref(ARGS["gemm"](**args)), width, peers), args)

    def cublaslt(self, sets):
        """cuBLASLt's best of 16 for a product, of which these GemmArgs are copies: a function of nothing for each, or None where there is no
        cuBLASLt."""
        if not self.lt:
            return None
        copies, tried = (ARGS["gemm"] * len(sets))(*(ARGS["gemm"](**args) for args in sets)), C.c_int(0)
        peer = self.lib.peer_cublaslt_open(copies, len(sets), C.byref(tried))
        if not peer:
            self.check(1)
        return [self._enqueue(functools.partial(self.lib.peer_cublaslt_run, C.c_void_p(peer), C.byref(a)), args) for a, args in zip(copies, sets)]


class Step:
    """The engine's training step of a preset on a made-up batch."""

    def __init__(self, engine, preset, dtype, batch, pairs=""):
        self.e = engine
        self.h = engine.lib.scvd_step_open(preset.encode(), dtype.encode(), pairs.encode(), batch, engine._device)
        engine.check(0 if self.h else 1)
        self.h = C.c_void_p(self.h)

    def close(self):
        self.e.check(self.e.lib.scvd_step_close(self.h))

    def dump(self, folder):
        self.e.check(self.e.lib.scvd_step_dump(self.h, folder.encode()))

    def backward(self):
        loss = C.c_double()
        self.e.check(self.e.lib.scvd_step_backward(self.h, C.byref(loss)))
        return loss.value

    def run(self, graph=True):
        self.e.check(self.e.lib.scvd_step_run(self.h, int(graph)))

    def run_eager(self):
        self.run(False)

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
