"""The simulated internet of the lab, and the tools that load it: see README.md."""
