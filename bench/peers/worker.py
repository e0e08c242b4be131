"""One library with one number of threads, timed at a caller's word.

Reads requests from standard input and writes answers to standard output, a line
of JSON each: {"do": "start", "spec": ...} makes a case ready, {"do": "sample",
"seconds": s} repeats it for at least s seconds and answers with the seconds of
one time, {"do": "stop"} forgets it. bench.Spec tells what a spec's fields mean.
"""
import argparse
import json
import os
import sys
import time


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--engine", required=True, help="torch, numpy, llama.cpp, or one of gpuwork.py")
    ap.add_argument("--device", default="cpu", help="cpu or cuda")
    ap.add_argument("--threads", type=int, required=True)
    ap.add_argument("--llama", default="", help="folder of llama.cpp's programs")
    ap.add_argument("--cache", default="", help="folder for model files of llama.cpp")
    a = ap.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(a.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Answers alone go to standard output, whatever the libraries print.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=out, flush=True)

    if a.engine == "torch":
        import torchwork
        engine = torchwork.Engine(a.threads, a.device)
    elif a.engine == "numpy":
        import numpywork
        engine = numpywork.Engine()
    elif a.engine == "llama.cpp":
        import llamawork
        engine = llamawork.Engine(a.llama, a.cache, a.threads)
    else:
        import gpuwork
        engine = gpuwork.engine(a.engine, a.threads, a.device)
    answer(versions=engine.versions)

    once = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "start":
                once = engine.start(request["spec"])
                answer()
            elif request["do"] == "sample":
                answer(seconds=sample(once, request["seconds"], getattr(engine, "wait", None)))
            else:
                once = None
                engine.stop()
                answer()
        except Exception as e:  # told to the caller, who ends
            answer(error="%s: %s" % (type(e).__name__, e))


def sample(once, seconds, wait=None):
    """Mean seconds of once, repeated for at least so long. What once returns, if anything, is its time.

    With wait, which waits for a GPU, once is repeated more and more often before it is called."""
    total = n = 0
    if wait:
        n = 1
        while True:
            wait()
            t = time.perf_counter()
            own = sum(x or 0 for x in [once() for _ in range(n)])
            wait()
            total = own or time.perf_counter() - t
            if total >= seconds:
                return total / n
            n *= 2
    while n == 0 or total < seconds:
        t = time.perf_counter()
        own = once()
        total += time.perf_counter() - t if own is None else own
        n += 1
    return total / n


if __name__ == "__main__":
    main()
