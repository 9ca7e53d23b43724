// Bundles the package's own code as ESM and as CommonJS; what it depends on stays outside.
import { build } from "esbuild";

for (const [format, extension] of [
  ["esm", ".mjs"],
  ["cjs", ".cjs"],
])
  await build({
    entryPoints: ["src/index.ts", "src/bullmq.ts"],
    outdir: "dist",
    outExtension: { ".js": extension },
    format,
    bundle: true,
    splitting: format === "esm",
    packages: "external",
    platform: "node",
    target: "node20",
    sourcemap: true,
  });
