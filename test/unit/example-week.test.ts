import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { namedGroups } from '../../src/alert/engine.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Alert } from '../../src/core/alert/alert.ts';
import type { AlertEvent, Rule } from '../../src/core/alert/rule.ts';
import { AlertRules } from '../../src/alert/rules.ts';
import { AlertStage } from '../support/alert-stage.ts';

const EXAMPLES = ['small-team', 'on-call', 'nightly-batch'];

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

/** What is left open at the end of the week has this time to end, ms. */
const QUIET = 2 * HOUR;

/** The first is the one that an example misses where none of its runs completes. */
const WORKFLOWS = [
  '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11',
  '9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d',
  '5b1f3c52-0d9e-4b5a-8a35-27d4f1a0c9e4',
];

function rulesOf(example: string): AlertRules {
  const loaded = loadConfig({
    purpose: 'serve',
    cwd: '/',
    configPath: join(import.meta.dirname, `../../config/examples/${example}.yaml`),
    env: {
      NOXUS_API_KEY: 'a-key',
      SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T0/B0/x',
      SLACK_BOT_TOKEN: 'xoxb-1',
      PAGERDUTY_ROUTING_KEY: 'a'.repeat(32),
      SMTP_PASSWORD: 'secret',
    },
  });
  if (loaded.kind === 'invalid') throw new Error(JSON.stringify(loaded.problems));
  return new AlertRules(loaded.config);
}

/** A run of the week. Times are minutes; the wait lies within the run. */
const life = fc.record({
  workflow: fc.constantFrom(...WORKFLOWS),
  startsAt: fc.nat(WEEK / MINUTE),
  lasts: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 30, max: 2_000 })),
  end: fc.oneof(
    { weight: 4, arbitrary: fc.constant('run.completed') },
    { weight: 3, arbitrary: fc.constant('run.failed') },
    { weight: 1, arbitrary: fc.constantFrom('run.stopped', 'run.gone', 'watch.expired') },
    { weight: 1, arbitrary: fc.constant(null) },
  ),
  waits: fc.constantFrom('never', 'a while', 'to the end'),
});

type Life = typeof life extends fc.Arbitrary<infer One> ? One : never;

interface Happening {
  at: number;
  run: string;
  workflow: string;
  /** A type of event, or that the run is beyond the deadline of a rule. */
  type: string;
}

/** What happens in the week, in order. Times are milliseconds from its begin. */
function happenings(lives: readonly Life[], rules: readonly Rule[]): Happening[] {
  return lives
    .flatMap(({ workflow, startsAt, lasts, end, waits }, at) => {
      const about = { run: `run-${at}`, workflow };
      const from = startsAt * MINUTE;
      const until = end === null ? Infinity : from + lasts * MINUTE;
      const all: Happening[] = [{ ...about, at: from, type: 'run.started' }];
      const third = (lasts * MINUTE) / 3;
      if (waits !== 'never') {
        all.push({ ...about, at: from + third, type: 'run.awaiting_human_feedback' });
      }
      if (waits === 'a while') all.push({ ...about, at: from + 2 * third, type: 'run.resumed' });
      for (const { condition } of rules) {
        if (condition.kind !== 'deadline' || condition.limit.kind !== 'interval') continue;
        const late = from + condition.limit.ms;
        if (late < until) all.push({ ...about, at: late, type: 'late' });
      }
      if (end !== null) all.push({ ...about, at: until, type: end });
      return all;
    })
    .filter(({ at }) => at < WEEK)
    .toSorted((a, b) => a.at - b.at);
}

/** What keeps an alert open at the end of the week; null for nothing. */
function causeOf(alert: Alert, rule: Rule, happened: readonly Happening[]): string | null {
  const { workflow_id: workflow, run_id: run } = alert.labels;
  const own = happened.filter(
    (one) => one.workflow === (workflow ?? one.workflow) && one.run === (run ?? one.run),
  );
  const { condition } = rule;
  const ends = own.filter(({ type }) => /^run\.(completed|failed|stopped)$/.test(type));
  switch (condition.kind) {
    case 'digest':
      return ends.some(({ at }) => at >= WEEK - DAY) ? 'the next digest has yet to come' : null;
    case 'absent': {
      const last = ends.findLast(({ type }) => type === condition.event)?.at ?? 0;
      return WEEK + QUIET - last > condition.withinMs ? 'what is awaited has not come' : null;
    }
    case 'deadline': {
      const late = own.filter(({ type }) => type === 'late').map((one) => one.run);
      const isOver = (id: string) => own.some((one) => one.run === id && isEnd(one.type));
      return late.some((id) => !isOver(id)) ? 'a run that is late goes on' : null;
    }
    case 'rate': {
      const last = ends.slice(-condition.ofLast);
      const failed = last.filter(({ type }) => type === 'run.failed');
      return failed.length / last.length >= condition.rate ? 'most of the last runs failed' : null;
    }
    case 'each':
    case 'count':
    case 'consecutive': {
      if (run !== undefined) {
        return own.at(-1)?.type === 'run.awaiting_human_feedback' ? 'the run waits' : null;
      }
      const last = ends.findLast(({ type }) => type !== 'run.stopped');
      return last?.type === 'run.failed' ? 'the last run failed' : null;
    }
  }
}

function isEnd(type: string): boolean {
  return /^run\.(completed|failed|stopped|gone)$|^watch\.expired$/.test(type);
}

/** Alerts that an endpoint got as firing and not as resolved, each with the endpoint. */
function openByNotifications({ sent }: AlertStage): Set<string> {
  const open = new Set<string>();
  const over = new Set<string>();
  const note = (about: string, kind: string) => {
    if (over.has(about)) throw new Error(`${kind} after the end: ${about}`);
    if (kind === 'firing') return open.add(about);
    if (!open.has(about)) throw new Error(`${kind} before it fired: ${about}`);
    if (kind === 'resolved') over.add(about);
    return kind === 'resolved' && open.delete(about);
  };
  for (const { kind, alert, notify, digest } of sent) {
    if (digest?.reason === 'schedule') continue;
    const begun = digest?.alerts.filter(({ state }) => state !== 'resolved') ?? [];
    const told =
      digest === null ? [{ id: alert.id, kind }] : begun.map(({ id }) => ({ id, kind: 'firing' }));
    for (const one of told) for (const name of notify) note(`${one.id} ${name}`, one.kind);
  }
  return open;
}

test.each(EXAMPLES)(
  'rules of the example %s keep no alert open that no cause does, after a week of any runs',
  (example) => {
    const { book, inhibitRules } = rulesOf(example);
    fc.assert(
      fc.property(fc.array(life, { minLength: 1, maxLength: 40 }), (lives) => {
        const stage = new AlertStage(book.all, { inhibit: inhibitRules });
        const begin = stage.now;
        for (const rule of book.all) {
          if (rule.condition.kind !== 'absent') continue;
          for (const labels of namedGroups(rule, ['default'])) stage.begin(labels);
        }
        const happened = happenings(lives, book.all);
        for (const { at, run, workflow, type } of happened) {
          stage.wait(begin + at - stage.now);
          const status = type === 'late' ? 'running' : type.slice('run.'.length);
          const about: Partial<AlertEvent> = {
            run: { runId: run, workflowId: workflow, name: null, url: null, status },
          };
          if (type === 'late') stage.late(run, about);
          else stage.judge(type, about);
        }
        stage.wait(begin + WEEK + QUIET - stage.now);
        expect(stage.spinning).toEqual([]);
        expect([...stage.due.values()].filter((at) => at <= stage.now)).toEqual([]);
        const open = stage.open();
        const left = open.filter((alert) => {
          const rule = stage.ruleNamed(alert.rule);
          return rule === undefined || causeOf(alert, rule, happened) === null;
        });
        expect(left.map(({ rule, labels }) => ({ rule, labels }))).toEqual([]);
        const told = openByNotifications(stage);
        const goesOn = new Set(open.map(({ id }) => id));
        expect([...told].filter((about) => !goesOn.has(about.split(' ')[0] ?? ''))).toEqual([]);
      }),
      { numRuns: 12 },
    );
  },
);
