import { existsSync } from 'node:fs';

/**
 * The directory of the package, with a slash at its end: the nearest one above this file that has a
 * package.json. The sources lie deeper in it than what is built of them.
 */
export const PACKAGE_ROOT = findRoot(new URL('./', import.meta.url));

function findRoot(directory: URL): URL {
  if (existsSync(new URL('package.json', directory))) return directory;
  const parent = new URL('../', directory);
  if (parent.href === directory.href) throw new Error('the package has no package.json');
  return findRoot(parent);
}
