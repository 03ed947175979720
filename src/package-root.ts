import { existsSync } from 'node:fs';

/**
 * The directory of the package, with a slash at its end: the nearest one above this file that has a
 * package.json. The sources lie deeper in it than what is built of them.
 */
export const PACKAGE_ROOT = findRoot(new URL('./', import.meta.url));

/** What users type to run this very package. In a checkout only npm finds it; the packed one has no lock file. */
export const COMMAND = existsSync(new URL('package-lock.json', PACKAGE_ROOT))
  ? 'npx --no-install runwatch'
  : 'runwatch';

function findRoot(directory: URL): URL {
  if (existsSync(new URL('package.json', directory))) return directory;
  const parent = new URL('../', directory);
  if (parent.href === directory.href) throw new Error('the package has no package.json');
  return findRoot(parent);
}
