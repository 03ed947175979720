import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { Reload, type Reloadable } from '../../src/daemon/reload.ts';
import { NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';

const SOURCE = { api_key: 'old', base_url: 'https://noxus.example' };

const configOf = (changes: object) =>
  configSchema.parse({ data_dir: '/d', sources: { eu: SOURCE }, ...changes });

test('the configuration in force after a reload has what was taken, and the rest as at the start', () => {
  const inForce: Config[] = [];
  const quiet = () => undefined;
  const parts: Reloadable[] = [
    { settings: ['sources.*.api_key'], prepare: () => quiet },
    { settings: ['endpoints'], prepare: () => quiet },
  ];
  const log = pino({ level: 'silent' });
  const process = testProcess({ config: configOf({}), log, now: () => NOON });
  const reload = new Reload(process, parts, (config) => void inForce.push(config));
  const endpoints = { ops: { type: 'log' } };
  const next = configOf({
    sources: { eu: { ...SOURCE, api_key: 'new', timeout: '1s' }, us: SOURCE },
    endpoints,
    polling: { profile: 'frugal' },
  });
  const loaded = {
    kind: 'loaded',
    file: null,
    overrides: [],
    warnings: [],
    tracing: null,
    rereadHeaders: () => null,
  } as const;
  reload.apply({ ...loaded, config: next });
  const expected = configOf({ sources: { eu: { ...SOURCE, api_key: 'new' } }, endpoints });
  expect(inForce).toEqual([expected]);

  // What was taken before and is configured no more is as it was at the start.
  reload.apply({ ...loaded, config: configOf({ sources: {} }) });
  expect(inForce[1]).toEqual(configOf({}));
});
