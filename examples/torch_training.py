"""Train the same network in PyTorch twice: with torch.nn.functional.cross_entropy, and with crossent's in its place.

Both runs begin at the same parameters and see the same batches, so they must end at the same loss; what differs is the
time. The two take turns step by step, and the time of a step is the median, so that whatever else the machine does
hits both. The first data set is synthetic, with so many classes that the loss matters; the second one are the
handwritten digits of scikit-learn, if that is installed.

    python examples/torch_training.py --steps 40
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

import crossent as ce
import crossent.torch


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    ce.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, crossent {ce.__version__}, {args.threads} thread(s), float32")
    compare("synthetic", *synthetic(args), args, args.rows)
    digits = load_digits()
    if digits is None:
        print("\ndigits: scikit-learn is not installed, so they are left out")
    else:
        compare("digits", *digits, args, batch_size=256)


def parse_arguments():
    parser = argparse.ArgumentParser(description="The time of a training step with either cross-entropy.")
    parser.add_argument("--rows", type=int, default=4096, help="rows in a batch of the synthetic data")
    parser.add_argument("--classes", type=int, default=1000, help="classes of the synthetic data")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def synthetic(args):
    """Classes are clusters around random centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(args.classes, 32, generator=generator)
    target = torch.randint(args.classes, (4 * args.rows,), generator=generator)
    return centres[target] + 0.5 * torch.randn(len(target), 32, generator=generator), target, args.classes


def load_digits():
    try:
        from sklearn import datasets
    except ImportError:
        return None
    pixels, classes = datasets.load_digits(return_X_y=True)
    return torch.from_numpy(pixels).float() / 16, torch.from_numpy(classes), 10


@dataclass
class Run:
    name: str
    cross_entropy: object
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss_times: list = field(default_factory=list)
    step_times: list = field(default_factory=list)


def new_run(name, cross_entropy, n_features, n_classes, args):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(n_features, args.hidden), torch.nn.ReLU(), torch.nn.Linear(args.hidden, n_classes)
    )
    return Run(name, cross_entropy, model, torch.optim.SGD(model.parameters(), args.learning_rate, momentum=0.9))


def compare(title, inputs, target, n_classes, args, batch_size):
    theirs = new_run("torch.nn.functional", F.cross_entropy, inputs.shape[1], n_classes, args)
    ours = new_run("crossent.torch", crossent.torch.cross_entropy, inputs.shape[1], n_classes, args)
    for i in range(args.steps):
        batch = torch.arange(i * batch_size, (i + 1) * batch_size) % len(inputs)
        for run in (theirs, ours) if i % 2 else (ours, theirs):
            step(run, inputs[batch], target[batch])
    print(f"\n{title}: {batch_size} x {n_classes} logits, {args.steps} steps")
    print("                     loss part      step  final loss")
    for run in (theirs, ours):
        loss_ms, step_ms = (1e3 * statistics.median(times) for times in (run.loss_times, run.step_times))
        print(f"{run.name:19s}  {loss_ms:6.3f} ms  {step_ms:5.2f} ms    {final_loss(run, inputs, target):.6f}")
    ratio = statistics.median(theirs.loss_times) / statistics.median(ours.loss_times)
    print(f"the loss part takes {ratio:.1f} times less time with crossent")


def step(run, inputs, target):
    """One step of gradient descent. The loss part is the loss and its gradient with respect to the logits."""
    begin = time.perf_counter()
    logits = run.model(inputs)
    at_loss = time.perf_counter()
    cut = logits.detach().requires_grad_()  # cuts the graph in two, to time its parts
    run.cross_entropy(cut, target).backward()
    behind_loss = time.perf_counter()
    logits.backward(cut.grad)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.step_times.append(time.perf_counter() - begin)
    run.loss_times.append(behind_loss - at_loss)


def final_loss(run, inputs, target):
    with torch.no_grad():
        return run.cross_entropy(run.model(inputs), target).item()


if __name__ == "__main__":
    main()
