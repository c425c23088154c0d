#!/bin/sh
# Simulates the network on golden traces with Icarus Verilog; slow. Arguments go to the testbench.
set -eu
cd "$(dirname "$0")"
iverilog -g2012 ${WAVES:+-DSPIKEC_WAVES="$WAVES"} -s testbench -o icarus.vvp library/*.sv simulation/*.sv \
    network.sv testbench.sv
vvp -n icarus.vvp +traces="${TRACES:-hex}" "$@"
