"""Train on real handwritten digits, twice: with crossent, and with the same formulas in plain NumPy.

The data are the 1797 images of 8 x 8 pixels that scikit-learn ships. A linear model is trained by stochastic gradient
descent with momentum, first as softmax regression (cross_entropy), then as ten independent yes-or-no questions, one for
each digit (binary_cross_entropy_with_logits). Both implementations of a loss see the same batches in the same order, so
they must end at the same model; what differs is the time.

    python examples/digits.py --epochs 200
"""

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np

import crossent as ce

N_CLASSES = 10


def main():
    args = parse_arguments()
    train_set, held_out = load_digits(args)
    sizes = f"{len(train_set.images)} images to train on, {len(held_out.images)} held out"
    print(f"digits: {sizes}; {args.dtype}; crossent {ce.__version__}")
    for title, loss, target in [
        ("softmax regression, cross_entropy", SoftmaxLoss, "classes"),
        ("one-vs-rest, binary_cross_entropy_with_logits", OneVsRestLoss, "one_hot"),
    ]:
        print(f"\n{title}\nepoch  loss      held out  accuracy")
        ours = train(loss.crossent, train_set, held_out, target, args, show=True)
        plain = train(loss.plain_numpy, train_set, held_out, target, args, show=False)
        report(ours, plain)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Softmax regression on handwritten digits with crossent.")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=128, help="0 is the whole training set")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


@dataclass
class Digits:
    images: np.ndarray  # (N, 64 pixels and a constant 1 for the bias)
    classes: np.ndarray  # (N,)
    one_hot: np.ndarray  # (N, 10)


def load_digits(args):
    try:
        from sklearn import datasets
    except ImportError:
        sys.exit("The digits come with scikit-learn, which is not installed: pip install scikit-learn")
    pixels, classes = datasets.load_digits(return_X_y=True)
    images = np.concatenate([pixels / 16, np.ones((len(pixels), 1))], axis=1).astype(args.dtype)
    order = np.random.default_rng(args.seed).permutation(len(images))
    one_hot = np.eye(N_CLASSES, dtype=args.dtype)[classes]
    held_out, train_set = np.split(order, [len(order) // 5])
    return [Digits(images[rows], classes[rows], one_hot[rows]) for rows in (train_set, held_out)]


# A loss is a function (logits, target) -> (mean loss, its gradient). The gradient may replace the logits.


class SoftmaxLoss:
    @staticmethod
    def crossent(logits, target):
        return cross_entropy_and_grad(logits, target, out=logits)

    @staticmethod
    def plain_numpy(logits, target):
        shifted = logits - logits.max(axis=1, keepdims=True)
        exp = np.exp(shifted)
        total = exp.sum(axis=1, keepdims=True)
        rows = np.arange(len(target))
        loss = (np.log(total[:, 0]) - shifted[rows, target]).mean()
        grad = exp / total
        grad[rows, target] -= 1
        grad /= len(target)
        return float(loss), grad


class OneVsRestLoss:
    @staticmethod
    def crossent(logits, target):
        return binary_cross_entropy_and_grad(logits, target, out=logits)

    @staticmethod
    def plain_numpy(logits, target):
        exp = np.exp(-np.abs(logits))
        loss = (np.maximum(logits, 0) - logits * target + np.log1p(exp)).mean()
        sigmoid = np.where(logits >= 0, 1, exp) / (1 + exp)
        return float(loss), (sigmoid - target) / logits.size


cross_entropy_and_grad = ce.value_and_grad(ce.cross_entropy)
binary_cross_entropy_and_grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)


@dataclass
class Result:
    loss: float  # on the held-out images
    accuracy: float
    seconds: float  # of all training steps
    loss_seconds: float  # of them in the loss and its gradient


def train(loss_and_grad, train_set, held_out, target, args, show):
    """Stochastic gradient descent with momentum from zero weights; the batches depend on the seed alone."""
    weights = np.zeros((train_set.images.shape[1], N_CLASSES), args.dtype)
    velocity = np.zeros_like(weights)
    rng = np.random.default_rng(args.seed)
    n_train = len(train_set.images)
    batch_size = args.batch_size or n_train
    targets = getattr(train_set, target)
    seconds = loss_seconds = 0.0
    for epoch in range(1, args.epochs + 1):
        epoch_loss = 0.0
        begin = time.perf_counter()
        order = rng.permutation(n_train)
        for first in range(0, n_train, batch_size):
            batch = order[first : first + batch_size]
            images, batch_targets = train_set.images[batch], targets[batch]
            logits = images @ weights
            begin_loss = time.perf_counter()
            loss, grad = loss_and_grad(logits, batch_targets)
            loss_seconds += time.perf_counter() - begin_loss
            epoch_loss += loss * len(batch)
            velocity = args.momentum * velocity - args.learning_rate * (images.T @ grad)
            weights += velocity
        seconds += time.perf_counter() - begin
        if show and (epoch in (1, args.epochs) or epoch % max(1, args.epochs // 5) == 0):
            held_out_loss, accuracy = evaluate(loss_and_grad, weights, held_out, target)
            print(f"{epoch:5d}  {epoch_loss / n_train:.6f}  {held_out_loss:.6f}  {accuracy:.4f}", flush=True)
    return Result(*evaluate(loss_and_grad, weights, held_out, target), seconds, loss_seconds)


def evaluate(loss_and_grad, weights, data, target):
    logits = data.images @ weights
    accuracy = float((logits.argmax(axis=1) == data.classes).mean())
    return loss_and_grad(logits, getattr(data, target))[0], accuracy


def report(ours, plain):
    print("              held-out loss  accuracy  training  in the loss")
    for name, result in [("crossent", ours), ("plain NumPy", plain)]:
        share = result.loss_seconds / result.seconds
        print(
            f"{name:12s}  {result.loss:.7f}      {result.accuracy:.4f}    {1e3 * result.seconds:6.0f} ms"
            f"  {1e3 * result.loss_seconds:6.1f} ms ({share:.0%})"
        )
    print(f"losses differ by {abs(ours.loss - plain.loss):.1e}; crossent takes", end=" ")
    print(f"{plain.loss_seconds / ours.loss_seconds:.1f} times less time in them")


if __name__ == "__main__":
    main()
