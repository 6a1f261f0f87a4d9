// Builds built/canvas.<digest>.js and .css from src: `npm ci --ignore-scripts && node build.mjs`. The same twice anywhere.
import {createHash} from "node:crypto";
import {mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from "node:fs";
import {build} from "esbuild";

const common = {bundle: true, minify: true, write: false, legalComments: "none", charset: "utf8", logLevel: "error"};
const script = await build({...common, entryPoints: ["src/canvas.jsx"], format: "esm", target: "es2022", jsx: "automatic",
  define: {"process.env.NODE_ENV": '"production"'}});
const style = await build({...common, entryPoints: ["src/canvas.css"]});
mkdirSync("built", {recursive: true});
for (const name of readdirSync("built")) if (name.startsWith("canvas.")) rmSync(`built/${name}`);
for (const [kind, result] of [["js", script], ["css", style]]) {
  const bytes = result.outputFiles[0].contents;
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  writeFileSync(`built/canvas.${digest}.${kind}`, bytes);
  console.log(`canvas.${digest}.${kind}`, bytes.length);
}
const packages = ["react", "react-dom", "scheduler", "@xyflow/react", "@xyflow/system", "@dagrejs/dagre", "@dagrejs/graphlib",
  "zustand", "use-sync-external-store", "classcat", "d3-drag", "d3-selection", "d3-zoom", "d3-dispatch", "d3-color", "d3-ease",
  "d3-interpolate", "d3-timer", "d3-transition"];
const texts = packages.flatMap(name => {
  const folder = `node_modules/${name}`;
  let files = [];
  try { files = readdirSync(folder).filter(file => /^licen[cs]e/i.test(file)); } catch { return []; }
  const version = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  return files.slice(0, 1).map(file => `${name} ${version.version} (${version.license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`);
});
writeFileSync("built/LICENSES.txt", texts.join(`\n${"-".repeat(80)}\n\n`));
