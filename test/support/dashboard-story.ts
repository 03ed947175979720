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
