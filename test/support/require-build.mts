import { existsSync } from 'node:fs';

/** What the tests run that start the product as its own process. */
const BUILT = ['dist/main.js', 'dist/ui/index.html'];

/** @throws Error at once in a clone without a build, where each test would wait in vain for a process */
export default function requireBuild(): void {
  const missing = BUILT.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)));
  if (missing.length === 0) return;
  throw new Error(`${missing.join(' and ')} missing, which these tests run: \`npm run build\``);
}
