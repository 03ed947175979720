import { seededRandom, randomInteger } from '../../src/simulator/seeded-random.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { WORKFLOWS, type Stage } from './dashboard-stage.ts';

const MINUTE_MS = 60_000;

/** A usual hour: runs of four workflows that ended, and some that still run or wait. */
export async function playHour(stage: Stage, seed = 3): Promise<void> {
  const random = seededRandom(seed);
  const ids = Object.values(WORKFLOWS);
  for (let at = 0; at < 64; at += 1) {
    const workflow = ids[at % ids.length] ?? ids[0];
    const lengthMs = randomInteger(random, 1, 7) * MINUTE_MS + randomInteger(random, 0, 50_000);
    const ageMs = randomInteger(random, 0, 58 * MINUTE_MS);
    const roll = random();
    const status = roll < 0.8 ? 'completed' : roll < 0.93 ? 'failed' : 'stopped';
    const progress = status === 'completed' ? 100 : randomInteger(random, 10, 90);
    const script: ScriptInput = {
      workflow_id: workflow,
      age_ms: ageMs,
      steps: [
        { after_ms: 1_500, status: 'running', progress: 0 },
        { after_ms: lengthMs, status, progress },
      ],
    };
    await stage.run(script, {
      metadata: { team: at % 2 === 0 ? 'finance' : 'care', order: String(4_700 + at) },
    });
  }
  for (const [name, progress] of [
    ['invoices', 40],
    ['support triage', 70],
  ] as const) {
    await stage.run({
      workflow_id: WORKFLOWS[name],
      age_ms: 9 * MINUTE_MS,
      steps: [
        { after_ms: 2_000, status: 'running', progress: 0 },
        { after_ms: 3 * MINUTE_MS, status: 'awaiting_human_feedback', progress },
      ],
    });
  }
}

/** A run that waits once and fails, seen from its beginning. @returns its id */
export async function playOneRun(stage: Stage): Promise<string> {
  return stage.run(
    {
      workflow_id: WORKFLOWS.invoices,
      steps: [
        { after_ms: 600, status: 'running', progress: 0 },
        { after_ms: 4_500, status: 'awaiting_human_feedback', progress: 45 },
        { after_ms: 7_800, status: 'running', progress: 45 },
        { after_ms: 12_300, status: 'failed', progress: 80 },
      ],
    },
    { metadata: { team: 'finance', order: '4711' } },
  );
}

/** The number of workflows of {@link MANY}, each with a name of the greatest length. */
const MANY_WORKFLOWS = 100;

const idOfMany = (at: number) => `9${String(at).padStart(7, '0')}-9999-4999-8999-999999999999`;

const nameOfMany = (at: number) =>
  `Quarterly reconciliation of supplier invoices ${at} against purchase orders of the northern region, approved by finance and audit`.slice(
    0,
    128,
  );

/** A configuration of a hundred workflows with long names, of which each failed run is an alert. */
export const MANY = {
  workflows: Object.fromEntries(
    Array.from({ length: MANY_WORKFLOWS }, (_, at) => [idOfMany(at), { name: nameOfMany(at) }]),
  ),
  rules: [
    {
      name: 'failed-runs',
      events: ['run.failed'],
      group_by: ['workflow_id'],
      group_wait: '500ms',
      owner: '@ana',
      severity: 'critical',
      annotations: {
        runbook_url: 'https://runbooks.example.com/invoices/failed',
        summary:
          'A reconciliation has failed. Suppliers of the region are not paid until it succeeds.',
      },
      notify: ['ops', 'flaky'],
    },
  ],
} as const;

/** A bad night: 300 runs of a hundred workflows, of which a hundred failed, a hundred wait and a hundred go on. */
export async function playMany(stage: Stage): Promise<void> {
  const ends = [
    { status: 'failed', progress: 40 },
    { status: 'awaiting_human_feedback', progress: 60 },
    { status: 'running', progress: 80 },
  ] as const;
  for (let at = 0; at < 3 * MANY_WORKFLOWS; at += 1) {
    await stage.run({
      workflow_id: idOfMany(at % MANY_WORKFLOWS),
      age_ms: (1 + (at % 50)) * MINUTE_MS,
      steps: [
        { after_ms: 1_000, status: 'running', progress: 0 },
        { after_ms: 20_000, ...ends[Math.floor(at / MANY_WORKFLOWS)]! },
      ],
    });
  }
}
