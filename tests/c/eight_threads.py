"""Eight Python threads in the kernels at once, each with up to three of OpenMP's: for ThreadSanitizer (sanitize.sh)."""

import threading

import numpy as np

import crossent as ce

rng = np.random.default_rng(0)
logits = rng.standard_normal((4096, 100)).astype(np.float32)
target = rng.integers(0, 100, 4096)
shared = np.empty_like(logits)


def work(i):
    n = 1 + i % 3
    for _ in range(3):
        ce.value_and_grad(ce.cross_entropy)(logits, target, num_threads=n)
        ce.softmax(logits[i::8], out=shared[i::8], num_threads=n)
        ce.binary_cross_entropy_with_logits(logits, logits, num_threads=n)


workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print("eight threads: done")
