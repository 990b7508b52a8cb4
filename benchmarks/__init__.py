"""What it costs to run a model beside a cache: ``python -m benchmarks``."""
