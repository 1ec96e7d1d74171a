#!/usr/bin/env python3
"""Several processes on one host: the results of one, and the faults that runs of many meet.

usage: ranks.py SCVD [--full]        through gloo; --full: twenty kills instead of three, and every world size
       ranks.py SCVD_EMULATED --nccl LIBRARY        a GPU each, both emulated: GPUs by tests/cuemu, NCCL by LIBRARY (tests/nccl_twin.cpp)
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SCVD = os.path.abspath(sys.argv[1])
FULL = "--full" in sys.argv
NCCL = os.path.abspath(sys.argv[3]) if sys.argv[2:3] == ["--nccl"] else None
WORK = tempfile.mkdtemp(prefix="scvd-ranks-")
MODEL = ("--image.height 48 --image.width 24 --image.patch 8 --image.stride 8 --image.dim 32 --image.layers 2 --image.heads 1 --text.dim 32 --text.layers 2 "
         "--text.heads 1 --model.embed 32 --loss.pairs hard:4 --train.batch 14 --train.lr 1e-3 --train.head_lr 1e-3 --train.log_every 1 "
         "--train.eval_every 4 --train.epochs 4 --train.bucket_mb 1 --train.ema 0.9").split()
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_"))}
ENV.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
DEVICE = []
if NCCL:
    DEVICE = ["--device", "cuda"]
    ENV.update(SCVD_NCCL=NCCL, TMPDIR=WORK, CUEMU_DEVICES="3", CUEMU_THREADS="1")
    MODEL += DEVICE + "--train.epochs 1 --train.eval_every 1".split()


def path(name):
    return os.path.join(WORK, name)


def train_command(out, more=()):
    return ["train", "--config", "demo", "--data", path("set"), "--out", path(out)] + MODEL + list(more)


def start(command, env=None):
    return subprocess.Popen([SCVD] + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**ENV, **(env or {})})


def run(command, env=None, code=0, seconds=120):
    p = start(command, env)
    try:
        text = p.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        raise SystemExit("hung: %s\n%s" % (command, p.communicate()[0]))
    if (p.returncode == 0) != (code == 0):
        raise SystemExit("exit code %d of %s\n%s" % (p.returncode, command, text))
    return text


def launch(n, out, more=(), options=(), **kw):
    return run(["launch", "-n", str(n)] + list(options) + ["--"] + train_command(out, more), **kw)


def under_way(n, out, more=(), options=()):
    """A launch whose run has just saved its first checkpoint, or has ended."""
    p = start(["launch", "-n", str(n)] + list(options) + ["--"] + train_command(out, more))
    while not os.path.exists(os.path.join(path(out), "last.safetensors")) and p.poll() is None:
        time.sleep(0.01)
    return p


def check(ok, what):
    if not ok:
        raise SystemExit("ranks.py: " + what)


def has(text, *sentences):
    for s in sentences:
        check(s in text, "%r is not in:\n%s" % (s, text))


def lines(out):
    with open(os.path.join(path(out), "metrics.jsonl")) as f:
        return [json.loads(x) for x in f]


def losses(out):
    """The loss of every update; of one that was done twice, before and after a restart, the later."""
    return [v for _, v in sorted({x["step"]: x["loss"] for x in lines(out) if "loss" in x}.items())]


def validation(out):
    return [x["t2i"] for x in lines(out) if "t2i" in x][-1]


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def same_eval_and_index():
    weights = ["--weights", os.path.join(path("one"), "best.safetensors")] + DEVICE
    alone = run(["eval"] + weights + ["--json", path("alone.json")])
    several = run(["launch", "-n", "3", "--", "eval"] + weights + ["--json", path("several.json")])
    with open(path("alone.json")) as a, open(path("several.json")) as b:
        check(json.load(a) == json.load(b), "eval over ranks:\n" + alone + several)
    for n in (1, 3):
        run(["launch", "-n", str(n), "--", "index", os.path.join(path("set"), "imgs"), "--out", path("index%d" % n)] + weights)
    with open(path("index1"), "rb") as a, open(path("index3"), "rb") as b:
        check(a.read() == b.read(), "index over ranks differs")
    print("eval and index over three ranks: the same to the last bit")


def same_as_one_gpu():
    """What is missing between two streams shows when each works as late as it may."""
    run(train_command("one"))
    one = losses("one")
    check(len(one) == 7, "%d losses" % len(one))
    for n, more, order in ((2, [], "lazy"), (3, ["--train.shard_optimizer", "true"], "eager")):
        launch(n, "of%d%s" % (n, order), more, env={"CUEMU_ASYNC": order})
        several = losses("of%d%s" % (n, order))
        check(len(several) == 7, "%d GPUs: %d losses" % (n, len(several)))
        worst = max(abs(a - b) / a for a, b in zip(one, several))
        check(worst < 1e-5, "%d GPUs, %s streams: losses off by %g" % (n, order, worst))
        print("%d GPUs, %s streams: 7 losses within %.1e of one GPU" % (n, order, worst))
    same_eval_and_index()


def lost_gpu(sent, sentence, timeout, most):
    """One of two ranks gets a signal in the midst of a long run; the other ends with a sentence, and both within `most` seconds."""
    p = under_way(2, sent.name, ["--train.epochs", "400", "--comm-timeout", str(timeout)])
    ranks = children(p.pid)
    check(len(ranks) == 2, "the run has ended before %s: %s" % (sent.name, p.poll()))
    os.kill(ranks[1], sent)
    began = time.time()
    text = p.communicate(timeout=90)[0]
    seconds = time.time() - began
    check(p.returncode, text)
    has(text, "rank 0 of 2 gave up in a collective on the GPU", sentence, "end all ranks and start again (train: with --resume)")
    check(seconds < most, "%s: it took %.1f s\n%s" % (sent.name, seconds, text))
    print("rank 1 gets %s: rank 0 says so, and both have ended after %.1f s" % (sent.name, seconds))


def nothing_on_one():
    port = free_port()
    first, other = together([(train_command("x"), env_of(0, 2, port)), (train_command("x"), {**env_of(1, 2, port), "SCVD_NCCL": "/nowhere/libnccl.so.2"})])
    has(other, "several GPUs need NVIDIA's NCCL, and it cannot be loaded: /nowhere/libnccl.so.2")
    has(first, "rank 0 of 2 gave up in setting up NCCL", "rank 1 has ended with: nccl: several GPUs need")
    port = free_port()
    first, other = together([(train_command("x"), env_of(0, 2, port)), (train_command("x"), {**env_of(1, 2, port), "CUEMU_DEVICES": "0"})])
    has(other, "the NVIDIA driver finds no GPU")
    has(first, "rank 0 of 2 cannot start: rank 1 has ended with: cuda: the NVIDIA driver finds no GPU")
    print("a rank without NCCL or GPU: the other does not wait for it")


def same_as_one_process():
    run(train_command("one"))
    one = losses("one")
    check(len(one) == 28, "%d losses" % len(one))
    for n in (2, 3, 4) if FULL else (2, 3):
        launch(n, "of%d" % n)
        worst = max(abs(a - b) / a for a, b in zip(one[:20], losses("of%d" % n)))
        check(worst < 1e-5, "%d ranks: losses off by %g" % (n, worst))
        launch(n, "again%d" % n, ["--deterministic"])
        check(losses("again%d" % n) == losses("of%d" % n), "%d ranks twice: other bits" % n)
        print("%d ranks: 20 losses within %.1e of one process, the same bits twice" % (n, worst))
    same_eval_and_index()


def killed(how_often):
    launch(3, "whole")
    whole, table = losses("whole"), validation("whole")
    random.seed(1)
    seconds = []
    for i in range(how_often):
        shutil.rmtree(path("cut"), ignore_errors=True)
        p = start(["launch", "-n", "3", "--"] + train_command("cut"))
        while len(children(p.pid)) < 3 and p.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0.2, 3))
        ranks = children(p.pid)
        if len(ranks) == 3:
            os.kill(random.choice(ranks), signal.SIGKILL)
        began = time.time()
        text = p.communicate(timeout=60)[0]
        seconds.append(time.time() - began)
        if p.returncode:
            has(text, "was ended by signal 9")
        check(p.returncode or "done in" in text, text)
        resume = ["--resume"] if os.path.exists(os.path.join(path("cut"), "last.safetensors")) else []
        launch(3, "cut", resume)
        check(losses("cut") == whole and validation("cut") == table, "after kill %d the run ends elsewhere" % i)
    print("%d kills at random moments: all ranks ended within %.1f s, and the resumed run gave the bits of an uninterrupted one" % (how_often, max(seconds)))


def restarted():
    p = under_way(2, "elastic", options=["--elastic-restarts", "1"])
    os.kill(children(p.pid)[1], signal.SIGKILL)
    text = p.communicate(timeout=120)[0]
    check(p.returncode == 0, text)
    has(text, "starting all ranks again, 1 of 1", "done in")
    check(losses("elastic") == losses("of2"), "the restarted group ends elsewhere")
    print("a group that restarts itself after a kill gives the bits of an uninterrupted one")


def stopped():
    p = under_way(3, "stopped", ["--comm-timeout", "4"])
    os.kill(children(p.pid)[1], signal.SIGSTOP)
    began = time.time()
    text = p.communicate(timeout=60)[0]
    check(p.returncode, text)
    has(text, "rank 1 has given no sign of life for", "gave up in", "end all ranks and start again (train: with --resume)")
    print("a stopped rank is named after %.1f s of a timeout of 4" % (time.time() - began))


def interrupted():
    p = under_way(2, "interrupted", ["--train.epochs", "400"])
    p.send_signal(signal.SIGTERM)
    text = p.communicate(timeout=60)[0]
    check(p.returncode == 0, text)
    has(text, "interrupted at update", "goes on from there")
    print("a group that is asked to stop does so after the same update")


def env_of(rank, size, port):
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def together(commands):
    """Output of processes that run side by side: (command, environment) each."""
    started = [start(c, e) for c, e in commands]
    return [p.communicate(timeout=60)[0] for p in started]


def disagreeing():
    quick = ["--comm-timeout", "5"]
    port = free_port()
    texts = together([(train_command("x", quick + (["--train.weight_decay", "0.3"] if r else [])), env_of(r, 2, port)) for r in range(2)])
    for t in texts:
        has(t, "rank 1 has another configuration than rank 0: weight_decay = 0.3")
    check(not os.path.exists(path("x")), "a refused run left a folder")
    port = free_port()
    for t in together([(train_command("x", quick), env_of(0, 2, port)), (train_command("x", quick), env_of(1, 3, port))]):
        has(t, "rank 1 believes in a run of 3 ranks, rank 0 in one of 2")
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        has(run(train_command("x", quick), env_of(0, 2, taken.getsockname()[1]), code=1), "rank 0 cannot listen on port", "Address already in use; MASTER_PORT names another")
    has(run(train_command("x", ["--comm-timeout", "1"]), env_of(0, 2, free_port()), code=1), "after 1 s only 1 of 2 ranks have come; missing: 1")
    has(run(train_command("x"), {"RANK": "0"}, code=1), "WORLD_SIZE is not set")
    has(launch(2, "x", ["--train.batch", "1"], code=1), "cannot be shared by 2 ranks")
    has(run(["launch", "-n", "2"], code=1), "command")
    has(run(["launch", "-n", "0", "--", "train"], code=1), "want 1 to 4096 ranks")
    print("ranks that disagree, a world of another size, a port in use, a rank that does not come: one sentence each")


def full_disk():
    small = path("small")
    os.makedirs(small)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], stderr=subprocess.DEVNULL).returncode:
        print("a full disk: not tried, mounting a small file system needs more rights than this")
        return
    try:
        text = launch(2, "small/run", ["--train.epochs", "4"], code=1)
        has(text, "No space left on device", "[1] scvd: comm: rank 1 of 2 gave up", "rank 0 has ended with: ")
        check(not any(n.endswith(".safetensors") for n in os.listdir(path("small/run"))), "something half-written: %s" % os.listdir(path("small/run")))
        print("a disk that is full on rank 0: both ranks say so, nothing half-written is left")
    finally:
        subprocess.run(["umount", small])


try:
    run(["synth", "--out", path("set"), "--train", "24", "--val", "8", "--test", "12", "--train-images", "2", "--width", "32", "--height", "64"])
    if NCCL:
        same_as_one_gpu()
        nothing_on_one()
        lost_gpu(signal.SIGKILL, "rank 1 has ended without a word", timeout=60, most=30)
        lost_gpu(signal.SIGSTOP, "rank 1 has given no sign of life for", timeout=10, most=60)
    else:
        same_as_one_process()
        killed(20 if FULL else 3)
        restarted()
        stopped()
        interrupted()
        disagreeing()
    full_disk()
    print("ranks.py: all passed")
finally:
    shutil.rmtree(WORK, ignore_errors=True)
