#!/bin/sh
# Synthesis with Yosys for ecp5 or xilinx (7 series): cells.txt, and for ecp5 network.json.
set -eu
cd "$(dirname "$0")"
family="${1:-ecp5}"
case "$family" in
    ecp5) synthesis="synth_ecp5 -top network -json network.json" ;;
    xilinx) synthesis="synth_xilinx -top network -family xc7 -flatten" ;;
    *) echo "usage: $0 [ecp5|xilinx]" >&2; exit 2 ;;
esac
yosys -q -l yosys.log -p "read_verilog -sv -defer library/*.sv network.sv; $synthesis;
    select -assert-none t:\$_DLATCH_* t:\$dlatch; tee -o cells.txt stat"
cat cells.txt
