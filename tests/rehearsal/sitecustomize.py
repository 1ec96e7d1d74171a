"""PyTorch's CUDA over the processor, for a rehearsal of what runs on a GPU (scripts/gpu_rehearsal.sh): a tensor "on cuda" is
one of the CPU, streams and events are those of the emulated kernels' library, and a captured graph holds its kernels, so that
whatever must not be captured is refused here too. PyTorch's own work is done at once and is in no graph. Nothing is measured."""
import contextlib
import ctypes as C
import os
import time

import torch
from torch.overrides import TorchFunctionMode

NAME = "emulated, not a GPU"
library = C.CDLL(os.environ["SCVD_REHEARSAL_LIBRARY"])


def driver(name, *args):
    if status := getattr(library, name)(*args):
        raise RuntimeError(f"{name}: error {status} of the emulated driver")


def elsewhere(x):
    return "cpu" if isinstance(x, (str, torch.device)) and str(x).startswith("cuda") else x


class OnTheProcessor(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*map(elsewhere, args), **{k: elsewhere(v) for k, v in (kwargs or {}).items()})


class Stream:
    def __init__(self, pointer=None, **_):
        self.pointer = C.c_void_p(pointer)

    def is_capturing(self):
        return False


class Event:
    def __init__(self, enable_timing=False):
        self.at = 0.0

    def record(self, stream=None):
        driver("cudaDeviceSynchronize")
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)


class Graph:
    def replay(self):
        driver("cudaGraphLaunch", self.exec, self.stream)


@contextlib.contextmanager
def graph(g, stream):
    handle, g.exec, g.stream = C.c_void_p(), C.c_void_p(), stream.pointer
    driver("cudaStreamBeginCapture", g.stream, 0)
    try:
        yield
    finally:
        driver("cudaStreamEndCapture", g.stream, C.byref(handle))
    driver("cudaGraphInstantiate", C.byref(g.exec), handle, C.c_ulonglong(0))


class Properties:
    multi_processor_count = 132


nothing = lambda *a, **k: None
cuda = torch.cuda
cuda.is_available, cuda.get_device_name, cuda.get_device_properties = lambda: True, lambda *a: NAME, lambda *a: Properties
cuda.synchronize, cuda.empty_cache, cuda.reset_peak_memory_stats, cuda.max_memory_allocated = lambda *a: driver("cudaDeviceSynchronize"), nothing, nothing, lambda: 1
cuda.Stream, cuda.ExternalStream, cuda.Event, cuda.CUDAGraph, cuda.graph, cuda.stream = Stream, Stream, Event, Graph, graph, lambda s: contextlib.nullcontext()
torch.accelerator.current_stream, torch.backends.cudnn.version = lambda *a: Stream(), lambda: 0
torch.compile = lambda f, **_: f
torch.nn.Module.compile = nothing
torch.compiler.cudagraph_mark_step_begin = nothing
OnTheProcessor().__enter__()
