"""crossent beside its peers: what benchmarks/peers.py does."""
