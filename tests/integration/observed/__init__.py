"""Workers on a real broker, watched by a real Prometheus with the rules of deploy/prometheus.

One deployment and one Prometheus serve all tests here; they come one after the other, and each
leaves the workers well. What the alerts wait for is shortened by `rules.shortened`; whether they
fire at their real durations is tested in `tests/operations/rules`.
"""
