import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { configSchema } from '../../src/config/schema.ts';
import { sectionHashes } from '../../src/config/sections.ts';

const SOURCE = { api_key: 'key-1', base_url: 'https://noxus.example' };
const RULE = { name: 'failures', events: ['run.failed'], notify: ['ops'] };

function hashesOf(changes: Record<string, unknown> = {}): Record<string, string> {
  return sectionHashes(
    configSchema.parse({
      data_dir: '/d',
      sources: { eu: SOURCE, us: SOURCE },
      endpoints: { ops: { type: 'webhook', url: 'https://ops.example/hook' } },
      ...changes,
    }),
  );
}

/** The sections with another hash after a setting changed. */
function changedBy(changes: Record<string, unknown>): string[] {
  const [before, after] = [hashesOf(), hashesOf(changes)];
  return Object.keys(before).filter((section) => before[section] !== after[section]);
}

test.each([
  ['sources', { sources: { eu: { ...SOURCE, rate_limit: { requests: 5 } }, us: SOURCE } }],
  ['sources', { sources: { eu: SOURCE } }],
  ['polling', { polling: { profile: 'frugal' } }],
  ['watches', { watches: { timeout: '1d' } }],
  ['endpoints', { endpoints: { ops: { type: 'webhook', url: 'https://other.example/hook' } } }],
  ['rules', { rules: [RULE] }],
  ['delivery', { delivery: { per_endpoint: 5 } }],
  ['egress', { egress: { allow: ['10.0.0.0/8'] } }],
  ['workflows', { workflows: { one: { name: 'invoices' } } }],
])(
  'the hash of the section %s changes with its settings, and no other does',
  (section, changes) => {
    expect(changedBy(changes)).toEqual([section]);
  },
);

test('settings of one process or host change no hash of a section that daemons share', () => {
  const sources = { eu: { ...SOURCE, ca_file: '/etc/ca.pem', proxy: 'http://p:1' }, us: SOURCE };
  const ops = { type: 'webhook', url: 'https://ops.example/hook', tls: { ca_file: '/ca.pem' } };
  expect(
    changedBy({
      data_dir: '/other',
      server: { port: 1 },
      log: { level: 'debug' },
      redis: { url: 'redis://other' },
      sources,
      endpoints: { ops },
      egress: { proxy: 'http://p:1' },
    }),
  ).toEqual([]);
});

test('the order of names in a file changes no hash', () => {
  expect(changedBy({ sources: { us: SOURCE, eu: SOURCE } })).toEqual([]);
});

test('no hash of a section depends on a secret', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z]{1,20}$/), (secret) => {
      expect(changedBy({ sources: { eu: { ...SOURCE, api_key: secret }, us: SOURCE } })).toEqual(
        [],
      );
    }),
    { numRuns: 20 },
  );
});
