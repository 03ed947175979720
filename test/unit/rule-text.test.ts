import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { AlertRules } from '../../src/alert/rules.ts';
import { ruleSections } from '../../src/config/rule-schema.ts';
import type { Config } from '../../src/config/schema.ts';
import { overflowRule, type Condition, type Rule } from '../../src/core/alert/rule.ts';
import { ruleText, type RuleText } from '../../src/core/alert/rule-text.ts';
import { aRule } from '../support/fake-alerts.ts';

const ROOT = join(import.meta.dirname, '../..');

const sections = z.looseObject({
  rules: ruleSections.rules,
  time_intervals: ruleSections.time_intervals.default({}),
});

/** The rules of a text of YAML, all endpoints of which are configured. */
function rulesOf(yaml: string): readonly Rule[] {
  const { rules, time_intervals } = sections.parse(parse(yaml));
  const named = rules.flatMap(({ notify, escalate }) => [
    ...notify,
    ...escalate.flatMap((step) => step.notify),
  ]);
  const endpoints = Object.fromEntries(named.map((name) => [name, { type: 'log' }]));
  const none = { sources: {}, workflows: {}, inhibit_rules: [] };
  const config = { ...none, rules, time_intervals, endpoints };
  return new AlertRules(config as unknown as Config).book.all;
}

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Blocks of YAML in a page that have rules. */
function blocksOf(page: string): string[] {
  const blocks = [...page.matchAll(/^```yaml\n([^]*?)^```/gm)].map(([, block = '']) => block);
  return blocks.filter((block) => /^rules:/m.test(block));
}

/** The section of rules of the example, with what is commented out. */
function exampleRules(): string {
  const text = read('config/runwatch.example.yaml').replaceAll(/^#(?=rules:| {2,}\S)/gm, '');
  const from = text.search(/^rules:$/m);
  const nights = 'time_intervals: { nights: [{ location: UTC }] }\n';
  return nights + text.slice(from).split(/^(?=\S)/m)[0];
}

const EXAMPLES = readdirSync(join(ROOT, 'config/examples')).filter((name) => name.endsWith('yaml'));
const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)];

const WRITTEN: readonly (readonly [place: string, rule: Rule])[] = [
  ...rulesOf(exampleRules()).map((rule) => ['runwatch.example.yaml', rule] as const),
  ...EXAMPLES.flatMap((name) =>
    rulesOf(read(`config/examples/${name}`)).map((rule) => [name, rule] as const),
  ),
  ...PAGES.filter((name) => name.endsWith('.md')).flatMap((name) =>
    blocksOf(read(name))
      .flatMap(rulesOf)
      .map((rule) => [name, rule] as const),
  ),
];

const NAMES: Readonly<Record<string, string>> = {
  '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11': 'invoices',
};
const nameOf = (id: string) => NAMES[id] ?? null;

const OF_WORKFLOWS = 'one alert for each source and workflow';
const UPDATES = 'updates every 5m at most; again every 4h until it is acknowledged';
const FAILED = `run.failed; ${OF_WORKFLOWS}`;
const FIRST = 'at the first event';
const CHAT = `chat after 30s; ${UPDATES}`;
const MAIL = `mail after 30s; ${UPDATES}`;
const OPS = `ops after 30s; ${UPDATES}`;
const HELD = 'in nights nothing, and a digest afterwards';
const ENDED = 'run.completed, run.failed or run.stopped; one alert for all';
const LATER = 'never at once: its events are collected for a digest';
const NO_MORE = 'when that is so no more, or by hand';
const ALL_ENDED = 'when all runs that are late have ended, or by hand';
const GOES_ON = 'when the run goes on or ends, or by hand';
const SETTLED =
  'when run.completed comes and none has matched for 5m, after 7d without a match, or by hand';

type Row = readonly [rule: string, watches: string, fires: string, notifies: string, ends: string];

const ROWS: readonly Row[] = [
  [
    'runwatch.example.yaml failed-runs',
    `run.failed of workflow invoices of source default with env=prod; ${OF_WORKFLOWS}`,
    FIRST,
    `${CHAT}; ops after 30m unless it is acknowledged; ${HELD}`,
    'when run.completed comes, or by hand',
  ],
  [
    'runwatch.example.yaml many-failures',
    `run.failed or run.stopped; ${OF_WORKFLOWS}`,
    'at 10 events within 10m',
    OPS,
    NO_MORE,
  ],
  ['runwatch.example.yaml failing-in-a-row', FAILED, 'at 3 such runs in a row', OPS, NO_MORE],
  [
    'runwatch.example.yaml failure-rate',
    FAILED,
    'at 20 % of the last 50 runs, once 10 have ended',
    OPS,
    NO_MORE,
  ],
  [
    'runwatch.example.yaml invoices-missing',
    `run.completed; ${OF_WORKFLOWS}`,
    'when none has come for 26h',
    OPS,
    'when one comes, or by hand',
  ],
  [
    'runwatch.example.yaml too-slow',
    `runs; ${OF_WORKFLOWS}`,
    'when a run has not ended 2h after it started',
    OPS,
    ALL_ENDED,
  ],
  [
    'runwatch.example.yaml slower-than-usual',
    `runs; ${OF_WORKFLOWS}`,
    'when a run takes more than 2 times as long as 95 % of the runs of its workflow, from when it was created',
    OPS,
    ALL_ENDED,
  ],
  [
    'runwatch.example.yaml daily',
    ENDED,
    LATER,
    'ops daily at 08:00 (Europe/Lisbon)',
    'with its digest',
  ],
  [
    'runwatch.example.yaml waiting',
    `run.awaiting_human_feedback; ${OF_WORKFLOWS}`,
    FIRST,
    OPS,
    'after 1h without a match, or by hand',
  ],
  [
    'runwatch.example.yaml source-down',
    `source.unreachable; ${OF_WORKFLOWS}`,
    FIRST,
    OPS,
    'when source.recovered comes, or by hand',
  ],
  [
    'nightly-batch.yaml invoices-missing',
    `run.completed of workflow invoices; ${OF_WORKFLOWS}`,
    'when none has come for 26h',
    MAIL,
    'when one comes, or by hand',
  ],
  [
    'nightly-batch.yaml late',
    `runs; ${OF_WORKFLOWS}`,
    'when a run has not ended 2h after it started',
    MAIL,
    ALL_ENDED,
  ],
  ['nightly-batch.yaml failed-runs', FAILED, FIRST, `${MAIL}; ${HELD}`, SETTLED],
  [
    'nightly-batch.yaml last-night',
    ENDED,
    LATER,
    'mail daily at 08:00 (Europe/Lisbon)',
    'with its digest',
  ],
  [
    'on-call.yaml failed-runs',
    FAILED,
    FIRST,
    `${CHAT}; pager after 15m unless it is acknowledged`,
    SETTLED,
  ],
  [
    'on-call.yaml mostly-failing',
    FAILED,
    'at 50 % of the last 10 runs, once 5 have ended',
    `chat and pager after 30s; ${UPDATES}`,
    NO_MORE,
  ],
  [
    'on-call.yaml waiting-for-feedback',
    'run.awaiting_human_feedback; one alert for each run',
    FIRST,
    `chat at once; ${UPDATES}`,
    GOES_ON,
  ],
  ['small-team.yaml failed-runs', FAILED, FIRST, CHAT, SETTLED],
  [
    'README.md approvals',
    'run.awaiting_human_feedback; one alert for each run',
    FIRST,
    `pager at once; ${UPDATES}`,
    GOES_ON,
  ],
  ['docs/configuration.md failed-runs', FAILED, FIRST, CHAT, SETTLED],
  [
    'docs/configuration.md too-slow',
    `runs; ${OF_WORKFLOWS}`,
    'when a run has not ended 2h after it was created',
    CHAT,
    ALL_ENDED,
  ],
  [
    'docs/configuration.md failed-runs',
    FAILED,
    FIRST,
    `${CHAT}; in weekend nothing, and a digest afterwards`,
    SETTLED,
  ],
  [
    'docs/configuration.md source-down',
    `source.unreachable; ${OF_WORKFLOWS}`,
    FIRST,
    CHAT,
    'when source.recovered comes, or by hand',
  ],
  [
    'docs/configuration.md failed-runs',
    'run.failed; one alert for each source',
    FIRST,
    CHAT,
    SETTLED,
  ],
  ['docs/destinations.md failed-runs', FAILED, FIRST, CHAT, SETTLED],
];

test('every rule of the examples and the docs is said in words', () => {
  const said = WRITTEN.map(([place, rule]): Row => {
    const { watches, fires, notifies, ends } = ruleText(rule, nameOf);
    return [`${place} ${rule.name}`, watches, fires, notifies, ends];
  });
  expect(said).toEqual(ROWS);
  const kinds = new Set(WRITTEN.map(([, { condition }]) => condition.kind));
  const all: Condition['kind'][] = ['each', 'count', 'consecutive', 'rate', 'absent', 'deadline'];
  expect([...kinds].sort()).toEqual([...all, 'digest'].sort());
});

const MINUTE = 60_000;
const NO_END = { events: [], count: 1, settleMs: 0, afterMs: null };

test.each<[string, Partial<Rule>, Partial<RuleText>]>([
  [
    'several workflows, sources and values',
    {
      when: { workflow_id: ['a', 'b'], source: ['eu', 'us'], metadata: { env: ['prod', 'test'] } },
      groupBy: ['metadata.team', 'event'],
    },
    {
      watches:
        'run.failed of workflows a or b of source eu or us with env=prod or test; one alert for each team and type of event',
    },
  ],
  [
    'a threshold that must last, and goes on',
    {
      condition: { kind: 'count', count: 1, withinMs: MINUTE },
      forMs: 5 * MINUTE,
      keepFiringForMs: 10 * MINUTE,
    },
    {
      fires: 'at 1 event within 1m, and still so after 5m',
      ends: 'when that is so no more, after another 10m, or by hand',
    },
  ],
  [
    'several successes',
    { resolve: { ...NO_END, events: ['run.completed'], count: 3 }, keepFiringForMs: MINUTE },
    { ends: 'when run.completed comes 3 times in a row, after another 1m, or by hand' },
  ],
  ['an end by hand alone', { resolve: NO_END }, { ends: 'only by hand' }],
  [
    'an escalation that acknowledgement does not excuse, and no endpoint',
    {
      notify: [],
      groupWaitMs: 0,
      escalate: [{ afterMs: MINUTE, unlessAcknowledged: false, notify: ['a', 'b'] }],
    },
    { notifies: `no endpoint at once; ${UPDATES}; a and b after 1m` },
  ],
  [
    'a share with a fraction',
    { condition: { kind: 'rate', rate: 0.125, ofLast: 8, atLeast: 8 } },
    { fires: 'at 12.5 % of the last 8 runs, once 8 have ended' },
  ],
])('a rule with %s is said in words', (_name, changes, words) => {
  expect(ruleText(aRule(changes), nameOf)).toMatchObject(words);
});

test('the words of an overflow are those of what counts it', () => {
  const { fires, ends } = ruleText(overflowRule(aRule()), nameOf);
  expect([fires, ends]).toEqual([FIRST, 'after 1h without a match, or by hand']);
});
