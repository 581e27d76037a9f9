"""Speed and memory, measured against floors, goals and alternatives; ``python -m benchmarks`` lists the commands."""
