"""The stream benchmark: the shipped worker beside others that do the same work on the same clicks.

    python -m tests.benchmarks.stream --help

| file | what it does |
|---|---|
| `workload.py` | the articles and clicks: generated, or of a reading set |
| `models.py` | the two bundles that are served, trained once and kept |
| `ground.py` | broker, preloaded topics, a Redis with a catalogue for each run |
| `contestants/` | who is compared, each in a process of its own |
| `watch.py` | what a process takes, from outside: CPU, memory; Redis likewise |
| `throughput.py`, `latency.py`, `growth.py` | what is measured |
| `profiled.py`, `stages.py` | where the time goes: a launcher that wraps functions from outside |
| `report.py`, `targets.py`, `plots.py` | what is printed, written and drawn |

docs/benchmarks.md says what was found.
"""
