// Ends every build: makes `npx --no-install runwatch` work in the checkout, and marks the build as done.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const MAIN = join(ROOT, 'dist', 'main.js');
const BIN = join(ROOT, 'node_modules', '.bin');

chmodSync(MAIN, 0o755);
// bootstrap.mjs goes by the time of this file.
utimesSync(MAIN, new Date(), new Date());

if (
  existsSync(join(ROOT, 'node_modules')) &&
  !lstatSync(join(ROOT, 'node_modules')).isSymbolicLink()
) {
  mkdirSync(BIN, { recursive: true });
  // Renamed into place, so that two builds at once do not meet a link that is half there.
  const draft = join(BIN, `.runwatch-${process.pid}`);
  symlinkSync(relative(BIN, MAIN), draft);
  renameSync(draft, join(BIN, 'runwatch'));
}
