"""What every emitted Lava project holds, copied as it is; only `network.py` is generated."""
