// Runs network.wasm (make wasm) in node: node boards/wasm.mjs [--integers] FILE...
import { readFile } from "node:fs/promises";
import { argv } from "node:process";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: ["network", ...argv.slice(2)], preopens: { ".": "." } });
const { instance } = await WebAssembly.instantiate(await readFile("network.wasm"), {
    wasi_snapshot_preview1: wasi.wasiImport,
});
process.exitCode = wasi.start(instance);
