"""What does fcemu cost, beside other fronts on the same machine? `python -m benchmarks`; see README.md here."""
