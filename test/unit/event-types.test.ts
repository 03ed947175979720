import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { defaultResolution } from '../../src/core/alert/rule.ts';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  DEFAULT_SYSTEM_EVENTS,
  EVENT_TYPES,
  familiesOf,
  SYSTEM_EVENT_TYPES,
} from '../../src/core/event/event.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-event-types-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

test('test/goldens has a body of each event type, but of those that its stage brings not about', () => {
  const recorded = Object.keys(JSON.parse(read('test/goldens/events.json')) as object);
  const types = [...EVENT_TYPES, ...BATCH_EVENT_TYPES, ...SYSTEM_EVENT_TYPES, ...ALERT_EVENT_TYPES];
  expect(types.filter((type) => !recorded.includes(type))).toEqual([
    'source.inconsistent',
    'source.consistent',
    'polling.overdue',
    'polling.caught_up',
    'discovery.waiting',
    'store.data_lost',
  ]);
});

test('an event ends the alerts of each event type, but of those that time alone ends', () => {
  const types = [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES];
  const endedByTime = types.filter((type) => {
    const rule = { events: [type], groupBy: ['source'], groupIntervalMs: 1 };
    return defaultResolution(rule).events.length === 0;
  });
  expect(endedByTime).toEqual([
    'run.started',
    'run.progress',
    'run.resumed',
    'run.recovered',
    'run.awaiting_human_feedback',
    'run.completed',
    'run.stopped',
    'run.restarted',
    'run.gone',
    'run.status_unknown',
    'watch.expired',
    'watch.recovered',
    'endpoint.recovered',
    'delivery.exhausted',
    'source.unauthorized',
    'source.throttled',
    'source.recovered',
    'source.consistent',
    'workflow.recovered',
    'polling.caught_up',
    'discovery.recovered',
    'discovery.waiting',
    'store.data_lost',
  ]);
});

test('a rule for a source is advised against where its events are about no source', () => {
  const advised = SYSTEM_EVENT_TYPES.filter((type) => {
    writeFileSync(
      join(cwd, 'f.yaml'),
      `sources: { a: { api_key: k } }
endpoints: { ops: { type: log } }
rules: [{ name: r, events: [${type}], when: { source: a }, notify: [ops], resolve: { after: 1h } }]
`,
    );
    const { warnings } = loadConfig({ purpose: 'command', env: {}, cwd, configPath: 'f.yaml' });
    return warnings.some(({ message }) => message.includes('is about no source'));
  });
  expect(advised).toEqual([
    'endpoint.failing',
    'endpoint.recovered',
    'endpoint.disabled',
    'delivery.exhausted',
    'store.data_lost',
  ]);
});

test.each([['docs/events.md'], ['test/goldens/openapi.json']])(
  '%s names each event that is listed where no type is asked for',
  (path) => {
    const [text = ''] = /what `\*` names[^"\n]*/.exec(read(path)) ?? [];
    const isNamed = (type: string) =>
      [type, ...familiesOf([type])].some((name) => text.includes(`\`${name}\``));
    expect(
      [...EVENT_TYPES, ...BATCH_EVENT_TYPES, ...DEFAULT_SYSTEM_EVENTS].filter(
        (type) => !isNamed(type),
      ),
    ).toEqual([]);
  },
);
