"""crossent beside its peers: how long a call takes, each library in a process of its own, measured in turn.

    python benchmarks/peers.py                        # everything, float32, one thread: about an hour
    python benchmarks/peers.py --only crossent        # crossent's own numbers: minutes
    python benchmarks/peers.py --ops ce,ce_grad --shapes 8192x10,4x19x160x160 --peers torch,jax
    python benchmarks/peers.py --json times.json                         # keeps the times
    python benchmarks/peers.py --load times.json --readme --plot         # writes README.md's and docs/performance.md's
                                                                         # tables from them, and draws docs/speed.png

The libraries take turns, and the shortest time of each counts: what else the machine does disturbs all of them alike.
Peers that are not installed are skipped. A shape is rows x classes, or N x C x d1 x ...: the classes are on axis 1. The
binary losses take the same shapes as they are. Named shapes: table, sweep (what the plot shows), odd (sizes that nobody
tuned for), axis.
"""

import argparse
from pathlib import Path


def parse_arguments(ops, peers, picture):
    parser = argparse.ArgumentParser(description="crossent beside its peers.")
    peers = ",".join(peers)
    parser.add_argument("--peers", default=peers, help=f"beside crossent and the memory limit (default: {peers})")
    parser.add_argument("--only", metavar="NAMES", help="these and nothing beside them: --only crossent")
    parser.add_argument("--ops", default=",".join(ops), help=f"default: {','.join(ops)}")
    shapes = "as 8192x10,4x19x160x160; or by name: table, sweep, odd, axis (default: table,sweep)"
    parser.add_argument("--shapes", default="table,sweep", help=shapes)
    parser.add_argument("--dtypes", default="float32", help="float32, float64 or both, with a comma")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of a library's turn")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run? Its times mean little.")
    parser.add_argument("--json", metavar="FILE", help="write the times there")
    parser.add_argument("--load", metavar="FILE", nargs="+", help="take the times from there and measure nothing")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md and docs/performance.md")
    parser.add_argument("--accuracy", metavar="FILE", type=Path, help="for --readme: from accuracy.py --json")
    parser.add_argument("--plot", nargs="?", const=picture, type=Path, help=f"default: {picture.name} in docs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.002
    return args


def main():
    from side_by_side import measuring, pages, plot, points

    peers = [name for name in points.NAMES if name not in points.NO_PEERS]
    args = parse_arguments(points.OPS, peers, pages.PICTURE)
    record = points.load(args.load) if args.load else measuring.measure(args)
    measuring.print_summary(record.points)
    if args.plot:
        plot.draw(record, args.plot)
    if args.readme:
        pages.write_performance(record)
        pages.write_readme(record, pages.accuracy_results(args.accuracy, measuring.progress))


if __name__ == "__main__":
    main()
