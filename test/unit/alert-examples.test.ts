import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { AlertRules } from '../../src/alert/rules.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { AlertStage } from '../support/alert-stage.ts';

const EXAMPLES = join(import.meta.dirname, '../../config/examples');

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const ENV = {
  NOXUS_API_KEY: 'key',
  SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T/B/x',
  SLACK_BOT_TOKEN: 'xoxb-1-2-token',
  PAGERDUTY_ROUTING_KEY: '0123456789abcdef0123456789abcdef',
  SMTP_PASSWORD: 'password',
};

/** Ways in which runs end, most of them well. */
const LIVES = [
  ['run.completed'],
  ['run.completed'],
  ['run.failed'],
  ['run.awaiting_human_feedback', 'run.resumed', 'run.completed'],
  ['run.awaiting_human_feedback', 'run.failed'],
  ['run.stalled', 'run.recovered', 'run.stopped'],
];

test.each(readdirSync(EXAMPLES).filter((file) => file.endsWith('.yaml')))(
  'a week by the rules of %s leaves no alert open that nothing keeps open',
  (file) => {
    const loaded = loadConfig({
      purpose: 'serve',
      env: ENV,
      cwd: EXAMPLES,
      configPath: join(EXAMPLES, file),
    });
    if (loaded.kind !== 'loaded') throw new Error(JSON.stringify(loaded.problems));
    const { book } = new AlertRules(loaded.config);
    const workflows = book.all.flatMap(({ when }) => when?.workflow_id ?? []);
    const random = seededRandom(11);
    const play = new AlertStage(book.all);
    for (let run = 0; run < 500; run += 1) {
      const workflowId = workflows[run % 2] ?? `wf-${run % 3}`;
      const about = { runId: `run-${run}`, workflowId, name: null, url: null, status: 'failed' };
      const types = LIVES[randomInteger(random, 0, LIVES.length - 1)] ?? [];
      const isLate = randomInteger(random, 0, 20) === 0;
      if (isLate) play.late(about.runId, { run: about });
      for (const type of types) {
        play.judge(type, { run: about });
        play.wait(randomInteger(random, MINUTE, 12 * MINUTE));
      }
      play.wait(randomInteger(random, 0, 20 * MINUTE));
    }
    for (const workflowId of ['wf-0', 'wf-1', 'wf-2', ...workflows]) {
      const run = {
        runId: `last of ${workflowId}`,
        workflowId,
        name: null,
        url: null,
        status: null,
      };
      play.judge('run.completed', { run });
    }
    play.wait(DAY);
    const kept = play.open().filter(({ rule }) => {
      const kind = book.named(rule)?.condition.kind;
      // What ran a day ago may be missing by now, and what failed in a row is so until runs complete.
      return kind !== 'absent' && kind !== 'rate';
    });
    expect(kept).toEqual([]);
    expect(play.spinning).toEqual([]);
    expect(play.overflowed.size).toBe(0);
    const endpoints = Object.keys(loaded.config.endpoints);
    const openIds = new Set(play.open().map(({ id }) => id));
    for (const endpoint of endpoints) {
      const told = play.sent.filter(
        ({ notify, digest }) => digest === null && notify.includes(endpoint),
      );
      const ended = new Set(
        told.filter(({ kind }) => kind === 'resolved').map(({ alert }) => alert.id),
      );
      const fired = told.filter(({ kind }) => kind === 'firing').map(({ alert }) => alert.id);
      expect(fired.filter((id) => !ended.has(id) && !openIds.has(id))).toEqual([]);
      expect(new Set(fired).size).toBe(fired.length);
    }
  },
);
