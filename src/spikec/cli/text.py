"""Examples shown by `--help`."""


def _examples(*lines: str) -> str:
    return "\n\n".join(["[bold]Examples[/]", *(f"  [dim]$[/] {line}" for line in lines)])


EPILOGS = {
    "compile": _examples(
        "spikec compile model.onnx --calib calib.npz -o out/",
        "spikec compile model.onnx --calib calib.npz -o out/ --timesteps 4 --target lava",
        "spikec compile model.onnx --calib calib.npz -o out/ --max-loss 0.01",
        "spikec compile model.onnx --calib calib.npz -o out/ --validation labelled.npz",
    ),
    "run": _examples(
        "spikec run out/ --data test.npz -o predictions.npz",
        "spikec run out/ --data test.npz --engine lava --limit 4 --trace -o traces.npz",
    ),
    "check": _examples(
        "spikec check out/ --data test.npz --engines reference,fast,lava --limit 2",
        "spikec check out/ --data test.npz --model model.onnx",
        "spikec check out/ --against out2/ --data test.npz",
    ),
    "reduce": _examples("spikec reduce out/ --data test.npz --engines reference,lava -o case/"),
    "trace": _examples(
        "spikec trace out/ --data test.npz --limit 4 -o traces/",
        "spikec trace out/ --data test.npz --limit 1 --format hex -o hex/",
        "spikec trace --verify traces/ --engine lava",
    ),
    "eval": _examples(
        "spikec eval out/ --data test.npz --model model.onnx --timesteps 1,2,4,8",
        "spikec eval out/ --data test.npz --timesteps 1,2,4,8,16,32 --plot steps.svg",
        "spikec eval out/ --data test.npz --cluster tcp://scheduler:8786",
    ),
    "report": _examples("spikec report out/", "spikec report out/ -o page.html"),
    "inspect": _examples(
        "spikec inspect model.onnx", "spikec inspect out/", "spikec inspect out/ --chip chip.svg"
    ),
    "opt": _examples("spikec opt net.spk --pass-pipeline fold,relay --verify-roundtrip"),
    "passes": _examples("spikec passes"),
    "targets": _examples("spikec targets"),
    "ops": _examples("spikec ops --json"),
    "demo": _examples("spikec demo", "spikec demo --target numpy"),
}
