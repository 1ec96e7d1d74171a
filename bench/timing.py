"""How everything in bench/ is timed: two or more implementations side by side, in the order A B B A, over enough copies of
their inputs that no cache holds them, in batches of at least 2 ms; medians and spreads of many batches.

On a GPU a batch is a CUDA graph of so many calls on the engine's stream between two events, so that the host's time to
enqueue short kernels is nobody's; what cannot be captured is enqueued as it is, for all implementations of the row alike."""
import statistics
import time

import torch

COLD_BYTES = 180e6  # three times an H200's L2
MOST_CALLS = 4000   # of a batch
BUSY_CYCLES = 1_000_000  # half a millisecond of a card that does nothing


class Clock:
    def __init__(self, device, stream=None, samples=30, least_ms=2.0):
        self.device, self.samples, self.least_ms = device, samples, least_ms
        self.stream = stream or (torch.cuda.Stream() if device == "cuda" else None)
        self.void = []  # graphs that could not be captured

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def lost(self):
        """Why this process can compute nothing more on its GPU, or nothing: a kernel's fault ends the context that it ran in."""
        try:
            self.wait()
        except Exception as e:
            return f"{type(e).__name__}: {e}".splitlines()[0]

    def on_stream(self):
        return torch.cuda.stream(self.stream) if self.device == "cuda" else _Nothing()

    def once(self, run):
        """Milliseconds of one call, by events or by the wall clock."""
        if self.device == "cpu":
            start = time.perf_counter()
            run()
            return 1000 * (time.perf_counter() - start)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(BUSY_CYCLES)  # the host has that long to launch a graph behind it
        begin.record(self.stream)
        run()
        end.record(self.stream)
        end.synchronize()
        return begin.elapsed_time(end)

    def _many(self, run, calls):
        def many():
            for i in range(calls):
                run(i)
        return many

    def _captured(self, run, calls):
        g = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(g, stream=self.stream):
                self._many(run, calls)()
        except Exception:
            self._after_failed_capture(g)
            raise
        return g.replay

    def _after_failed_capture(self, g):
        """PyTorch (2.11, and before) throws where the capture ends and leaves the rest undone: its random numbers stay as if captured, so that every
        later draw throws, until a capture ends well; its allocator still asks the graph whose memory is whose."""
        self.void.append(g)
        torch.cuda.synchronize()
        x, good = torch.zeros(1, device="cuda"), torch.cuda.CUDAGraph()
        with torch.cuda.graph(good, stream=self.stream):
            x.add_(1)

    def _first_count(self, run, sets):
        """Calls for a batch, from calls one by one."""
        for i in range(3):
            run(i)
        self.wait()
        one = max(min(self.once(lambda: run(0)) for _ in range(3)), 1e-4)
        return whole_rounds(min(MOST_CALLS, int(self.least_ms / one) + 1), sets)

    def _graph(self, run, calls, sets):
        """(replay, calls in it). The first count is of calls that may wait for the host: short ones are faster in a graph, and so more are needed."""
        replay = self._captured(run, calls)
        replay()
        ms = min(self.once(replay) for _ in range(2))
        if ms < self.least_ms and calls < MOST_CALLS:
            calls = whole_rounds(min(MOST_CALLS, int(calls * 1.1 * self.least_ms / max(ms, 1e-3)) + 1), sets)
            replay = self._captured(run, calls)
        return replay, calls

    def _batches(self, variants, sets):
        """({name: (batch, calls in it)}, how)"""
        calls, how = {name: self._first_count(run, sets) for name, run in variants.items()}, "wall clock"
        if self.device == "cuda":
            try:
                return {name: self._graph(run, calls[name], sets) for name, run in variants.items()}, "graph"
            except Exception as error:  # what cannot be captured: nobody's calls of this row are
                how = f"stream ({type(error).__name__} while capturing)"
        return {name: (self._many(run, calls[name]), calls[name]) for name, run in variants.items()}, how

    def compare(self, variants, sets=1):
        """variants: {name: f(i)}, i counts calls and chooses the copy of the inputs. -> ({name: stats in ms per call}, how)"""
        with self.on_stream():
            batches, how = self._batches(variants, sets)
            ms = {name: [] for name in variants}
            for batch, _ in batches.values():
                batch()
            self.wait()
            names = list(variants)
            for round_ in range(self.samples):
                for name in names if round_ % 2 == 0 else reversed(names):
                    batch, count = batches[name]
                    ms[name].append(self.once(batch) / count)
        return {name: stats(v) for name, v in ms.items()}, how

    def whole(self, variants, warm, samples):
        """Steps that wait for the device themselves: {name: f()} by the wall clock, A B B A."""
        for run in variants.values():
            for _ in range(warm):
                run()
        self.wait()
        ms = {name: [] for name in variants}
        names = list(variants)
        for round_ in range(samples):
            for name in names if round_ % 2 == 0 else reversed(names):
                start = time.perf_counter()
                variants[name]()
                self.wait()
                ms[name].append(1000 * (time.perf_counter() - start))
        return {name: stats(v) for name, v in ms.items()}


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def stats(ms):
    q = statistics.quantiles(ms, n=4) if len(ms) > 1 else [ms[0]] * 3
    return {"median": statistics.median(ms), "min": min(ms), "iqr": q[2] - q[0], "n": len(ms)}


def whole_rounds(calls, sets):
    """At least so many calls, each copy of the inputs as often as any other."""
    return calls + -calls % sets


def copies(bytes_per_set, device):
    """How many copies of a row's tensors are more than the caches hold."""
    if device == "cpu":
        return 2
    return max(2, min(64, int(COLD_BYTES / max(bytes_per_set, 1)) + 1))


def error(result, reference):
    """Relative error in the Frobenius norm; NaN and unwritten outputs are infinitely wrong."""
    r = reference.double()
    e = ((result.double() - r).norm() / r.norm()).item()
    return e if e == e else float("inf")


def ceilings(clock, big):
    """This run's own limits: bytes a second of a large copy (read + written), FLOP/s of an 8192^3 bf16 product (not big: of small ones)."""
    n, m = (1 << 29, 8192) if big else (1 << 23, 512)
    a = torch.randn(n, device=clock.device, dtype=torch.bfloat16)
    b = torch.empty_like(a)
    copy = clock.compare({"copy": lambda i: b.copy_(a)})[0]["copy"]
    del a, b
    x = torch.randn(m, m, device=clock.device, dtype=torch.bfloat16)
    w = torch.randn(m, m, device=clock.device, dtype=torch.bfloat16)
    gemm = clock.compare({"gemm": lambda i: torch.nn.functional.linear(x, w)})[0]["gemm"]
    return {"copy_TBps": 4 * n / copy["median"] / 1e9, "bf16_TFLOPs": 2 * m**3 / gemm["median"] / 1e9, "gemm_size": m,
            "aa_spread": gemm["iqr"] / gemm["median"]}
