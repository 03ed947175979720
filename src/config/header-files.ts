import type { SourceHeaders } from '../core/source/port.ts';
import { expand, type Environment } from './environment.ts';
import { isHeaderValue } from './headers.ts';
import { pathKey } from './problems.ts';
import type { Config } from './schema.ts';

/**
 * Reads the headers of a source again: tokens that something else renews are files. Null where none of its headers
 * comes from a file.
 */
export type RereadHeaders = (
  source: string,
) => { headers: SourceHeaders } | { problem: string } | null;

/**
 * @param ofFiles texts of settings that files are a part of, before variables were expanded, by `pathKey`
 * @param openEnvironment opens the environment anew, so that files are read again
 */
export function headerReader(
  { sources }: Config,
  ofFiles: ReadonlyMap<string, string>,
  openEnvironment: () => Environment,
): RereadHeaders {
  return (name) => {
    const source = sources[name];
    if (source?.type !== 'http') return null;
    const texts = Object.keys(source.headers).flatMap((header) => {
      const text = ofFiles.get(pathKey(['sources', name, 'headers', header]));
      return text === undefined ? [] : [{ header, text }];
    });
    if (texts.length === 0) return null;
    const headers: Record<string, string> = { ...source.headers };
    const environment = openEnvironment();
    for (const { header, text } of texts) {
      const expanded = expand(text, environment);
      const value = expanded.kind === 'text' ? expanded.text : '';
      if (value === '' || !isHeaderValue(value)) return { problem: problemOf(environment, header) };
      headers[header] = value;
    }
    return { headers };
  };
}

function problemOf(environment: Environment, header: string): string {
  const [unreadable] = environment.problems();
  return unreadable?.message ?? `the file of the header ${header} holds no value of a header`;
}
