import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'rolldown/utils';

const GLOBALS = new URL('./globals.mjs', import.meta.url).href;

/** As the build compiles it: see vite.config.ts and src/ui/tsconfig.json. */
const COMPILED = {
  target: 'es2023',
  sourcemap: true,
  typescript: { onlyRemoveTypeImports: true },
  jsx: { runtime: 'automatic', importSource: 'preact' },
};

/** Resolves what tests import to {@link GLOBALS}: the package itself works in a realm of jest's alone. */
export function resolve(specifier, context, next) {
  return specifier === '@jest/globals'
    ? { url: GLOBALS, shortCircuit: true }
    : next(specifier, context);
}

/** Compiles TypeScript where it is imported, with its source map, by which Node writes the lines of a stack. */
export async function load(url, context, next) {
  if (!/^file:.*\.m?tsx?(\?|$)/.test(url)) return next(url, context);
  const path = fileURLToPath(url);
  const { code, map, errors } = transformSync(path, await readFile(path, 'utf8'), COMPILED);
  if (errors.length > 0) throw new SyntaxError(errors[0].message);
  const encoded = Buffer.from(JSON.stringify(map)).toString('base64');
  const source = `${code}\n//# sourceMappingURL=data:application/json;base64,${encoded}`;
  return { format: 'module', source, shortCircuit: true };
}
