"""asv benchmarks of crossent; CONTRIBUTING.md says how to run and read them."""
