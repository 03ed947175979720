import * as fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-held-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

/** The settings that problems and warnings name. */
function keysOf(settings: object): string[] {
  writeFileSync(join(cwd, 'f.yaml'), stringify(settings));
  const result = loadConfig({ purpose: 'serve', env: {}, cwd, configPath: 'f.yaml' });
  const problems = result.kind === 'invalid' ? result.problems : [];
  return [...problems, ...result.warnings].map(({ path }) => path.join('.')).sort();
}

const HOOK = { type: 'webhook', url: 'https://x.example', default: true };

/** Each entry is valid by itself; together they contradict each other in every way that is checked. */
const SETTINGS = {
  server: { host: '0.0.0.0' },
  auth: {
    tokens: [{ name: 'ops', token: 'sixteen-characters', sources: ['main', 'mian'] }],
  },
  sources: {
    main: { api_key: 'k' },
    other: { api_key: 'k' },
  },
  polling: { min_interval: '2m', max_interval: '1m' },
  endpoints: {
    twice: { ...HOOK, headers: { A: '1', a: '2' } },
    misspelt: { ...HOOK, when: { source: ['main', 'othr'] } },
    plain: HOOK,
  },
  rules: [
    { name: 'first', events: ['run.failed'], notify: ['plain'] },
    {
      name: 'second',
      events: ['run.failed'],
      notify: ['plain'],
      mute_time_intervals: ['night', 'nights'],
    },
    { name: 'first', events: ['run.stopped'], notify: ['twice'] },
  ],
  time_intervals: { night: [{ times: [{ start_time: '22:00', end_time: '24:00' }] }] },
  inhibit_rules: [{ source_rule: 'first', target_rule: 'third', equal: ['source'] }],
  redis: { url: 'redis://127.0.0.1', sentinel_password: 'p' },
};

const CONTRADICTIONS = [
  'auth.tokens.0.sources',
  'polling.min_interval',
  'endpoints.twice.headers.a',
  'endpoints.misspelt.when.source',
  'rules.1.mute_time_intervals.1',
  'rules.2.name',
  'inhibit_rules.0.target_rule',
  'redis.sentinel_password',
].sort();

test('settings that contradict each other are reported where each is valid', () => {
  expect(keysOf(SETTINGS)).toEqual(CONTRADICTIONS);
});

test('a file with a faulty setting and with contradictions takes one round', () => {
  const keys = keysOf({ ...SETTINGS, log: { level: 'verbose' } });
  expect(keys).toEqual(['log.level', ...CONTRADICTIONS].sort());
});

/** An entry that can be broken, and what is not checked without it. */
const ENTRIES: [section: string, entry: string | number | null, untold?: string][] = [
  ['sources', 'main'],
  ['sources', 'other'],
  ['polling', null, 'polling.min_interval'],
  ['endpoints', 'twice', 'endpoints.twice.headers.a'],
  ['endpoints', 'misspelt', 'endpoints.misspelt.when.source'],
  ['endpoints', 'plain'],
  ['rules', 0],
  ['rules', 1, 'rules.1.mute_time_intervals.1'],
  ['rules', 2, 'rules.2.name'],
  ['time_intervals', 'night'],
  ['inhibit_rules', 0, 'inhibit_rules.0.target_rule'],
  ['auth', null, 'auth.tokens.0.sources'],
  ['redis', null, 'redis.sentinel_password'],
  ['server', null],
];

/** What needs the names of all rules, and is not checked where a fault hides one. */
const OF_RULE_NAMES = ['rules.2.name', 'inhibit_rules.0.target_rule'];

const FAULTS: { of: (entry: object) => unknown; isNamed: boolean }[] = [
  { of: () => 5, isNamed: false },
  { of: () => 'text', isNamed: false },
  { of: (entry) => ({ ...entry, surplus: true }), isNamed: true },
];

test('faulty entries hide no contradiction of others, and make none', () => {
  const some = fc.subarray(ENTRIES, { minLength: 1 });
  fc.assert(
    fc.property(some, fc.constantFrom(...FAULTS), (broken, fault) => {
      const settings: Record<string, any> = structuredClone(SETTINGS);
      const untold = new Set<string>();
      for (const [section, entry, its] of broken) {
        if (entry === null) settings[section] = fault.of(settings[section]);
        else settings[section][entry] = fault.of(settings[section][entry]);
        if (its !== undefined) untold.add(its);
        if (section === 'rules' && !fault.isNamed) for (const key of OF_RULE_NAMES) untold.add(key);
      }
      const ways = broken.map(([section, entry]) =>
        entry === null ? section : `${section}.${entry}`,
      );
      const isFault = (key: string) =>
        !CONTRADICTIONS.includes(key) &&
        ways.some((way) => key === way || key.startsWith(`${way}.`));
      const others = keysOf(settings).filter((key) => !isFault(key));
      expect(others).toEqual(CONTRADICTIONS.filter((key) => !untold.has(key)));
    }),
    { numRuns: 100 },
  );
});
