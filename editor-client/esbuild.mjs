// Bundles the extension, its panel and, with --tests, the unit tests.
import { readdirSync, readFileSync, rmSync } from "node:fs";
import esbuild from "esbuild";

/**
 * Takes what the sources name of `vscode` from it once. By itself esbuild copies all of the large
 * module in every file that imports it, which was most of the time that activation took.
 */
const editorApi = {
  name: "editor-api",
  setup(build) {
    build.onResolve({ filter: /^vscode$/ }, ({ namespace }) =>
      namespace === "editor-api" ? { path: "vscode", external: true } : { path: "vscode", namespace: "editor-api" },
    );
    build.onLoad({ filter: /.*/, namespace: "editor-api" }, () => {
      const sources = readdirSync("src").filter((name) => name.endsWith(".ts"));
      const texts = sources.map((name) => readFileSync(`src/${name}`, "utf8"));
      const names = new Set(texts.flatMap((text) => [...text.matchAll(/\bvscode\.(\w+)/g)].map(([, name]) => name)));
      return { contents: `export const { ${[...names].join(", ")} } = require("vscode");` };
    });
  },
};

const node = { outdir: "dist", bundle: true, minify: true, platform: "node", format: "cjs", target: "node20" };

const extension = {
  ...node,
  entryPoints: ["src/extension.ts"],
  plugins: [editorApi],
  external: ["./languageClient"],
  // What is required finds `vscode`; what is imported by Node's own loader may not.
  supported: { "dynamic-import": false },
};

// A file of its own, read when a server starts: it is nine tenths of the code, and all of a file
// is parsed when the extension is activated.
const languageClient = { ...node, entryPoints: ["src/languageClient.ts"], external: ["vscode"] };

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
for (const options of process.argv.includes("--tests") ? [tests] : [extension, languageClient, panel]) {
  await esbuild.build({ ...options, logLevel: "warning" });
}
