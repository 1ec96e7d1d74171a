"""PyTorch's CUDA over the processor, for a rehearsal of what runs on a GPU (scripts/gpu_rehearsal.sh): a tensor "on cuda" is
one of the CPU, streams and events are those of the emulated kernels' library, and a captured graph holds its kernels, so that
whatever must not be captured is refused here too. PyTorch's own work is done at once and is in no graph, but what of it would wait
for the GPU or bring memory from the host is refused in a capture. Nothing is measured."""
import contextlib
import ctypes as C
import os
import time

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

NAME = "emulated, not a GPU"
library = C.CDLL(os.environ["SCVD_REHEARSAL_LIBRARY"])


def driver(name, *args):
    if status := getattr(library, name)(*args):
        raise RuntimeError(f"{name}: error {status} of the emulated driver")


def elsewhere(x):
    return "cpu" if isinstance(x, (str, torch.device)) and str(x).startswith("cuda") else x


def tensors_of(x):
    return [t for t in tree_leaves(x) if isinstance(t, torch.Tensor)]


def of_host(t):
    return getattr(t, "of_host", False)


T = torch.Tensor
DEVICE_OF = T.device.__get__
READS = {T.item, T.tolist, T.cpu, T.numpy, T.nonzero, torch.nonzero, T.__bool__, T.__int__, T.__float__, T.__index__}
capturing = False


def waits(func, tensors, to_gpu, to_host):
    """Whether CUDA would stop to read a tensor of its own, or to fetch what lies in the host's memory."""
    host, gpu = [t for t in tensors if of_host(t)], [t for t in tensors if not of_host(t)]
    if func in READS or to_host:
        return bool(gpu)
    if func is T.__getitem__ and any(t.dtype is torch.bool for t in tensors[1:]):  # how many rows are true?
        return bool(gpu)
    if to_gpu:
        return bool(host) or func in (torch.tensor, torch.as_tensor) and not gpu
    return bool(gpu) and any(t.dim() for t in host)


class OnTheProcessor(TorchFunctionMode):
    """Runs everything on the CPU. Tensors of the host, of which a real program has few, know that they are: made with no word of cuda,
    or from such alone."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == DEVICE_OF:
            return torch.device("cpu" if of_host(args[0]) else "cuda:0")
        given, tensors = (*args, *kwargs.values()), tensors_of((args, kwargs))
        to_gpu = any(elsewhere(x) is not x for x in given)
        to_host = func is T.cpu or func is T.to and "cpu" in [str(x) for x in given if isinstance(x, (str, torch.device))]
        if capturing and waits(func, tensors, to_gpu, to_host):
            raise RuntimeError(f"{func.__name__} waits for the GPU, and must not while a graph is captured")
        result = func(*map(elsewhere, args), **{k: elsewhere(v) for k, v in kwargs.items()})
        for t in tensors_of(result):
            if not any(t is x for x in tensors):
                t.of_host = not to_gpu and (to_host or all(map(of_host, tensors)))
        return result


class autocast(torch.autocast):
    def __init__(self, kind, *args, **kwargs):
        super().__init__(elsewhere(kind), *args, **kwargs)


class Stream:
    def __init__(self, pointer=None, **_):
        self.pointer = C.c_void_p(pointer)

    def is_capturing(self):
        return capturing


class Event:
    def __init__(self, enable_timing=False):
        self.at = 0.0

    def record(self, stream=None):
        driver("cudaDeviceSynchronize")
        self.at = time.perf_counter() + late

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)


late = 0.0  # seconds that PyTorch's work in replayed graphs would have taken: as many as when it was captured


class Graph:
    def replay(self):
        global late
        driver("cudaGraphLaunch", self.exec, self.stream)
        late += self.took


@contextlib.contextmanager
def graph(g, stream):
    global capturing
    handle, g.exec, g.stream = C.c_void_p(), C.c_void_p(), stream.pointer
    driver("cudaStreamBeginCapture", g.stream, 0)
    capturing, start = True, time.perf_counter()
    try:
        yield
    finally:
        capturing, g.took = False, time.perf_counter() - start
        driver("cudaStreamEndCapture", g.stream, C.byref(handle))
    driver("cudaGraphInstantiate", C.byref(g.exec), handle, C.c_ulonglong(0))


class Properties:
    multi_processor_count = 132


nothing = lambda *a, **k: None
cuda = torch.cuda
cuda.is_available, cuda.get_device_name, cuda.get_device_properties = lambda: True, lambda *a: NAME, lambda *a: Properties
cuda.synchronize, cuda.empty_cache, cuda.reset_peak_memory_stats, cuda.max_memory_allocated = lambda *a: driver("cudaDeviceSynchronize"), nothing, nothing, lambda: 1
cuda.Stream, cuda.ExternalStream, cuda.Event, cuda.CUDAGraph, cuda.graph, cuda.stream = Stream, Stream, Event, Graph, graph, lambda s: contextlib.nullcontext()
cuda.is_current_stream_capturing, torch.autocast = lambda: capturing, autocast
torch.accelerator.current_stream, torch.backends.cudnn.version = lambda *a: Stream(), lambda: 0
torch.compile = lambda f, **_: f
torch.nn.Module.compile = nothing
torch.compiler.cudagraph_mark_step_begin = cuda._sleep = nothing
OnTheProcessor().__enter__()
