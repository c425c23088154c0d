#!/bin/sh
# Simulates the network on golden traces; needs Verilator 5. Arguments go to the testbench.
set -eu
cd "$(dirname "$0")"
# Without -fno-dfg Verilator 5.006 takes constant bits of vectors that are driven in parts for 0.
verilator --binary --timing -O3 -fno-dfg -Wno-fatal -Wno-TIMESCALEMOD ${WAVES:+--trace --trace-depth "$WAVES" -DSPIKEC_WAVES="$WAVES"} \
    --top-module testbench -y library -y simulation network.sv testbench.sv -j 2 >verilator.log
obj_dir/Vtestbench +traces="${TRACES:-hex}" "$@"
