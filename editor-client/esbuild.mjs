// Bundles the extension, its panel and, with --tests, the unit tests.
import { readdirSync, rmSync } from "node:fs";
import esbuild from "esbuild";

const extension = {
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  bundle: true,
  minify: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  external: ["vscode"],
};

const panel = {
  entryPoints: ["src/webview/panel.ts", "src/webview/panel.css"],
  outdir: "dist",
  bundle: true,
  minify: true,
  platform: "browser",
  format: "iife",
  target: "chrome120",
};

const tests = {
  entryPoints: readdirSync("test").map((name) => `test/${name}`),
  outdir: "build/test",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
};

// A test that has been removed must not go on running.
rmSync("build/test", { recursive: true, force: true });
for (const options of process.argv.includes("--tests") ? [tests] : [extension, panel]) {
  await esbuild.build({ ...options, logLevel: "warning" });
}
