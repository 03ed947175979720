import { percentDecoded } from '../../core/percent-encoding.ts';

/**
 * The values of a path that has a shape such as `/runs/:source/:id+`; null where it has another. A value with a
 * plus takes what is left: a proxy may have decoded the slashes of an id.
 */
export function matchPath(shape: string, path: string): Record<string, string> | null {
  const wanted = shape.split('/');
  const given = path.split('/');
  if (shape.endsWith('+')) given.push(given.splice(wanted.length - 1).join('/'));
  if (wanted.length !== given.length) return null;
  const values: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    const found = given[at] ?? '';
    const name = /^:(\w+)/.exec(part)?.[1];
    if (name === undefined && part !== found) return null;
    if (name === undefined) continue;
    const value = percentDecoded(found);
    if (value === null || value === '') return null;
    values[name] = value;
  }
  return values;
}
