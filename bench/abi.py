"""The structs of engine/view.h and ops/kernels.h as ctypes; scvd_size_* of the library says whether they still fit."""
import ctypes as C

SKIP, WRITE, ACCUMULATE = 0, 1, 2


class View(C.Structure):
    _fields_ = [("p", C.c_void_p), ("dtype", C.c_uint8), ("rows", C.c_int64), ("cols", C.c_int64), ("pitch", C.c_int64)]


class Out(View):
    _fields_ = [("mode", C.c_uint8)]


def struct(name, *fields):
    return type(name, (C.Structure,), {"_fields_": [(n, t) for t, names in fields for n in names.split()]})


Seqs = struct("Seqs", (View, "q_begin q_len o_begin k_begin k_len"), (C.c_bool, "shared"), (C.c_int, "max_q max_k"), (C.c_int64, "k_rows"))
Gemm = struct("Gemm", (View, "a b bias residual"), (Out, "c pre"), (C.c_bool, "ta tb gelu"), (View, "gate"), (Out, "sums act"))
ARGS = {
    "scale": struct("Scale", (View, "x"), (Out, "y"), (C.c_double, "s")),
    "add": struct("Add", (View, "a b"), (Out, "y")),
    "transpose": struct("Transpose", (View, "x"), (Out, "y")),
    "dot": struct("Dot", (View, "a b"), (Out, "y")),
    "row_sum": struct("RowSum", (View, "x"), (Out, "y")),
    "quick_gelu_forward": struct("QuickGeluFwd", (View, "x"), (Out, "y")),
    "quick_gelu_backward": struct("QuickGeluBwd", (View, "dy x"), (Out, "dx")),
    "gemm": Gemm,
    "gemm_two": struct("GemmTwo", (Gemm, "first second")),
    "grouped_gemm": struct("GroupedGemm", (View, "a b a_at b_at c_at bias"), (Out, "c pre sums"), (C.c_int64, "members"), (C.c_int, "a_rows b_rows"), (C.c_bool, "ta tb gelu")),
    "layer_norm_forward": struct("LayerNormFwd", (View, "x gamma beta"), (Out, "y mean rstd"), (C.c_float, "eps")),
    "layer_norm_backward": struct("LayerNormBwd", (View, "dy x gamma mean rstd"), (Out, "dx dgamma dbeta")),
    "layer_norm_max_forward": struct("LayerNormMaxFwd", (View, "x gamma beta"), (Out, "y argmax mean rstd"), (C.c_float, "eps")),
    "layer_norm_max_backward": struct("LayerNormMaxBwd", (View, "dy x gamma mean rstd"), (Out, "dx dgamma dbeta"), (View, "argmax")),
    "attention_forward": struct("AttentionFwd", (View, "q k v"), (Seqs, "seqs"), (Out, "y lse"), (C.c_int, "heads"), (C.c_double, "scale"), (C.c_bool, "causal")),
    "attention_backward": struct("AttentionBwd", (View, "dy q k v y lse"), (Seqs, "seqs"), (Out, "dq dk dv"), (C.c_int, "heads"), (C.c_double, "scale"), (C.c_bool, "causal")),
    "softmax_xent_forward": struct("XentFwd", (View, "logits target"), (Out, "loss lse")),
    "softmax_xent_backward": struct("XentBwd", (View, "dloss logits target lse"), (Out, "dlogits")),
    "matching_forward": struct("MatchingFwd", (View, "scores match"), (Out, "loss lse"), (C.c_double, "scale eps")),
    "matching_backward": struct("MatchingBwd", (View, "dloss scores match loss lse"), (Out, "dscores"), (C.c_double, "scale eps")),
    "adamw": struct("AdamW", (Out, "master compute m v"), (View, "grad lr decay ends scalars"), (C.c_float, "beta1 beta2 eps"), (C.c_bool, "l2")),
    "patchify": struct("Patchify", (View, "pixels augment"), (Out, "y"), (C.c_int, "height width patch stride"), (C.c_float * 3, "mean std fill")),
}


def load(path):
    """The library. Errors: it is not there, or its structs are laid out otherwise."""
    lib = C.CDLL(path)
    lib.scvd_error.restype = lib.scvd_sources.restype = C.c_char_p
    lib.scvd_step_open.restype = C.c_void_p
    for name, cls in ARGS.items():
        f = getattr(lib, "scvd_size_" + name)
        f.restype = C.c_size_t
        if f() != C.sizeof(cls):
            raise RuntimeError(f"{path}: {name}'s arguments are {f()} bytes, bench/abi.py has {C.sizeof(cls)}")
    return lib
