import { cpSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { surfaceChanges, surfaceTexts } from '../../scripts/surface.ts';
import {
  breaksOf,
  type Direction,
  type Entries,
  entriesText,
  type Entry,
  parseEntries,
} from '../../scripts/surface/entry.ts';
import { KINDS } from '../../scripts/surface/kinds.ts';
import { SchemaEntries } from '../../scripts/surface/schema.ts';

const ROOT = join(import.meta.dirname, '../..');

const ADVICE = `Users of the last release rely on what stands below. Put it back, or write each line into the file of
changes/ that says why it goes; docs/stability.md says in which version it may.`;

test('what users of the last release rely on is still there, or a file of changes/ names what goes', async () => {
  const { unannounced } = await surfaceChanges(ROOT);
  const lines = unannounced.map(({ line, detail }) => `${line} (${detail})`);
  expect(lines.length === 0 ? '' : [ADVICE, ...lines].join('\n')).toBe('');
});

const recordings = new Map(
  Object.keys(KINDS).map((kind) => [
    kind,
    parseEntries(readFileSync(join(ROOT, `test/fixtures/surface/${kind}.txt`), 'utf8')),
  ]),
);

const kinds = Object.entries(KINDS).map(([kind, { direction }]) => ({
  kind,
  direction,
  recorded: recordings.get(kind) ?? new Map<string, Entry>(),
}));

/** Entries that one mutation of the recording changes. */
function mutation(recorded: Entries) {
  return fc.constantFrom(...recorded).map(([name, entry]) => {
    const changed = (change: Partial<Entry>) =>
      new Map(recorded).set(name, { ...entry, ...change });
    return { name, entry, changed };
  });
}

const linesOf = (kind: string, direction: Direction, recorded: Entries, present: Entries) =>
  breaksOf(kind, direction, { recorded, present }).map(({ line }) => line);

describe.each(kinds)('recorded $kind', ({ kind, direction, recorded }) => {
  const compare = (present: Entries) => linesOf(kind, direction, recorded, present);

  test(`the recording of ${kind} is read from its text as it was written`, () => {
    expect(recorded.size).toBeGreaterThan(5);
    expect(parseEntries(entriesText(recorded))).toEqual(recorded);
    expect(compare(recorded)).toEqual([]);
  });

  test(`an entry of ${kind} that goes is named, once for all that belongs to it`, () => {
    fc.assert(
      fc.property(mutation(recorded), ({ name }) => {
        const alone = new Map(recorded);
        alone.delete(name);
        expect(compare(alone)).toEqual([`Removed: ${kind} ${name}`]);
        const isPart = (other: string) =>
          other.startsWith(name) && /^(?:$|[ .[({])/.test(other.slice(name.length));
        const whole = new Map([...recorded].filter(([other]) => !isPart(other)));
        expect(compare(whole)).toEqual([`Removed: ${kind} ${name}`]);
      }),
      { numRuns: 30 },
    );
  });

  test(`an entry of ${kind} that gets another type is named, unless its type was not known`, () => {
    fc.assert(
      fc.property(mutation(recorded), ({ name, entry, changed }) => {
        const isKnown = direction === 'takes' || !entry.types.includes('any');
        const expected = isKnown ? [`Changed: ${kind} ${name}`] : [];
        expect(compare(changed({ types: ['other'] }))).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  test(`an entry of ${kind} that loses a word is named, and one that gets a word is not`, () => {
    for (const [name, entry] of recorded) {
      const [, ...words] = entry.words;
      if (words.length === 0) continue;
      const having = (its: string[]) => new Map(recorded).set(name, { ...entry, words: its });
      expect(compare(having([...words, 'new']))).toEqual([`Changed: ${kind} ${name}`]);
      expect(compare(having([...entry.words, 'new']))).toEqual([]);
    }
  });

  test(`a new entry of ${kind} is named only where an input newly needs it`, () => {
    fc.assert(
      fc.property(mutation(recorded), fc.boolean(), ({ name, entry, changed }, required) => {
        const more = `${name}.added`;
        const present = new Map(recorded).set(more, { types: ['string'], required, words: [] });
        const isNeeded = direction === 'takes' && required;
        expect(compare(present)).toEqual(isNeeded ? [`Changed: ${kind} ${more}`] : []);
        const turned = entry.required === (direction === 'gives');
        expect(compare(changed({ required: !entry.required }))).toEqual(
          turned ? [`Changed: ${kind} ${name}`] : [],
        );
      }),
      { numRuns: 30 },
    );
  });
});

test('an input may take null besides, an output may not give it; a schema more is another kind of event', () => {
  const of = (...types: string[]) => new Map([['a', { types, required: true, words: [] }]]);
  const compare = (direction: Direction, before: Entries, now: Entries) =>
    linesOf('x', direction, before, now);
  expect(compare('takes', of('string'), of('string', 'null'))).toEqual([]);
  expect(compare('gives', of('string'), of('string', 'null'))).toEqual(['Changed: x a']);
  expect(compare('takes', of('string', 'null'), of('string'))).toEqual(['Changed: x a']);
  expect(compare('gives', of('string', 'null'), of('string'))).toEqual([]);
  expect(compare('gives', of('RunEvent'), of('RunEvent', 'AlertEvent'))).toEqual([]);
  expect(compare('gives', of('RunEvent', 'AlertEvent'), of('RunEvent'))).toEqual(['Changed: x a']);
});

test('a key of a new kind of endpoint may be required, and one of a kind that was there may not', () => {
  const kindsOf = (...choices: object[]) => {
    const found = new SchemaEntries({});
    found.add('endpoints.<name>', { oneOf: choices }, false);
    return found.entries;
  };
  const object = (type: string, ...required: string[]) => ({
    type: 'object',
    properties: {
      type: { type: 'string', const: type },
      ...Object.fromEntries(required.map((key) => [key, { type: 'string' }])),
    },
    required,
  });
  const recorded = kindsOf(object('log'), object('slack', 'url'));
  const compare = (present: Entries) => linesOf('configuration', 'takes', recorded, present);
  expect(compare(kindsOf(object('log'), object('slack', 'url'), object('fax', 'number')))).toEqual(
    [],
  );
  expect(compare(kindsOf(object('log', 'path'), object('slack', 'url')))).toEqual([
    'Changed: configuration endpoints.<name>(log).path',
  ]);
  expect(compare(kindsOf(object('log'), object('slack')))).toEqual([
    'Removed: configuration endpoints.<name>(slack).url',
  ]);
});

/** What the entries are read from, and their recording. */
const COPIED = [
  'test/goldens',
  'test/fixtures/surface',
  'config/runwatch.schema.json',
  'docs/configuration.md',
  'src/client',
  'src/core/errors.ts',
];

describe('a copy of what is recorded', () => {
  let root: string;
  let present: Record<string, string>;

  beforeAll(async () => {
    present = await surfaceTexts(ROOT);
  });

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'runwatch-surface-'));
    for (const path of COPIED) cpSync(join(ROOT, path), join(root, path), { recursive: true });
    mkdirSync(join(root, 'changes'));
  });

  afterEach(() => rmSync(root, { recursive: true }));

  function edit(path: string, from: string, to: string): void {
    const text = readFileSync(join(root, path), 'utf8');
    expect(text).toContain(from);
    writeFileSync(join(root, path), text.replace(from, to));
  }

  async function lines(): Promise<string[]> {
    for (const [path, text] of Object.entries(present)) writeFileSync(join(root, path), text);
    return (await surfaceChanges(root)).unannounced.map(({ line }) => line);
  }

  test.each([
    [
      'a key of the configuration',
      'config/runwatch.schema.json',
      '"max_interval": {',
      '"longest_interval": {',
      'Removed: configuration polling.max_interval',
    ],
    [
      'a variable of the environment',
      'docs/configuration.md',
      '- `RUNWATCH_LOG_LEVEL`',
      '- `RUNWATCH_LOG`',
      'Removed: environment RUNWATCH_LOG_LEVEL',
    ],
    [
      'a route',
      'test/goldens/openapi.json',
      '"/v1/lookup": {',
      '"/v1/find": {',
      'Removed: api-requests GET /v1/lookup',
    ],
    [
      'a field of an answer',
      'test/goldens/openapi.json',
      '"total_capped": {',
      '"capped": {',
      'Removed: api-answers DeliveryPage.total_capped',
    ],
    [
      'the status of a problem',
      'test/goldens/problems.json',
      '"status": 401',
      '"status": 402',
      'Changed: api-problems unauthorized',
    ],
    [
      'a type of event',
      'test/goldens/openapi.json',
      '"run.gone": {',
      '"run.vanished": {',
      'Removed: events run.gone',
    ],
    [
      'a flag of a verb',
      'test/goldens/help.txt',
      '  --through-feedback            with',
      '  --through-waits               with',
      'Removed: cli-flags runwatch watch --through-feedback',
    ],
    [
      'a field that a verb prints',
      'test/goldens/verbs.json',
      '"results": [',
      '"runs": [',
      'Removed: cli-json wait.results',
    ],
    [
      'an exit code',
      'test/goldens/exit-codes.txt',
      'wait: stopped: 3',
      'wait: stopped: 1',
      'Changed: cli-exits wait stopped',
    ],
    [
      'a label of a metric',
      'test/goldens/metrics.txt',
      'runwatch_source_up{source}',
      'runwatch_source_up{name}',
      'Removed: metrics runwatch_source_up{source}',
    ],
    [
      'a check of /readyz',
      'test/goldens/readyz.txt',
      'check memory',
      'check heap',
      'Removed: readiness-checks memory',
    ],
    [
      'a method of the client',
      'src/client/client.ts',
      '  getTimeline(run: RunRef)',
      '  readTimeline(run: RunRef)',
      'Removed: package-types client DaemonClient.getTimeline',
    ],
    [
      'what a function gives',
      'src/client/webhook.ts',
      '): WebhookEvent {',
      '): WebhookEvent | null {',
      'Changed: package-types webhook verifyWebhook',
    ],
    [
      'an argument that may be absent',
      'src/client/client.ts',
      'getWatch(run: RunRef)',
      'getWatch(run: RunRef, how: object)',
      'Changed: package-arguments client DaemonClient.getWatch argument 2',
    ],
    [
      'a field of what a function takes',
      'src/client/wait.ts',
      'timeoutMs?: number',
      'withinMs?: number',
      'Removed: package-arguments client WaitOptions.timeoutMs',
    ],
    [
      'a word that a type is limited to',
      'src/client/event-stream.ts',
      "'lost' | 'restored' | 'reset'",
      "'lost' | 'restored'",
      'Changed: package-types client ConnectionState',
    ],
  ])('%s that goes is named', async (_what, path, from, to, line) => {
    edit(path, from, to);
    expect(await lines()).toContain(line);
  });

  test('an argument of the package that may be absent is no break, nor is a field more of a result', async () => {
    edit('src/client/client.ts', 'getWatch(run: RunRef)', 'getWatch(run: RunRef, how?: object)');
    edit('src/client/wait.ts', '  run_id: string;', '  run_id: string;\n  attempt: number;');
    expect(await lines()).toEqual([]);
  });

  test('a file of changes/ announces what goes by its line, and nothing else', async () => {
    edit('test/goldens/exit-codes.txt', 'wait: stopped: 3', 'wait: stopped: 1');
    edit('test/goldens/exit-codes.txt', 'wait: gone: 5', 'wait: gone: 1');
    const change = 'Running\nA stopped run is a failure for `wait`.\n';
    writeFileSync(join(root, 'changes/exits.md'), change);
    expect(await lines()).toEqual([
      'Changed: cli-exits wait gone',
      'Changed: cli-exits wait stopped',
    ]);
    writeFileSync(join(root, 'changes/exits.md'), `${change}Changed: cli-exits wait stopped\n`);
    expect(await lines()).toEqual(['Changed: cli-exits wait gone']);
  });
});
