import { createHash } from 'node:crypto';
import { redactConfig } from './redact.ts';
import type { Config } from './schema.ts';

/**
 * The sections that daemons of one store must agree on, since each works for all: any of them polls a run,
 * judges it by rules and delivers what comes of it. The others are about one process or host.
 */
const SHARED_SECTIONS = [
  'sources',
  'workflows',
  'polling',
  'watches',
  'endpoints',
  'rules',
  'time_intervals',
  'inhibit_rules',
  'delivery',
  'egress',
] as const satisfies readonly (keyof Config)[];

/** Settings in these sections that depend on the host: files, and the way out; `*` stands for any key. */
const OF_HOST = ['sources.*.ca_file', 'sources.*.proxy', 'endpoints.*.tls', 'egress.proxy'].map(
  (path) => path.split('.'),
);

/**
 * The SHA-256 of each section that daemons must agree on, by its name. Secrets are left out, so that
 * nothing can be guessed from a hash.
 */
export function sectionHashes(config: Config): Record<string, string> {
  const shown = redactConfig(config);
  return Object.fromEntries(
    SHARED_SECTIONS.map((section) => {
      const text = JSON.stringify(normal(shown[section], [section]));
      return [section, createHash('sha256').update(text).digest('hex')];
    }),
  );
}

/** The same value for the same settings, in whatever order a file has its keys. */
function normal(value: unknown, path: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((item, at) => normal(item, [...path, String(at)]));
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .map(([key, child]) => ({ key, child, at: [...path, key] }))
    .filter(({ at }) => !isOfHost(at))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, child, at }) => [key, normal(child, at)]);
}

function isOfHost(path: readonly string[]): boolean {
  return OF_HOST.some(
    (pattern) =>
      pattern.length === path.length && pattern.every((key, at) => key === '*' || key === path[at]),
  );
}
