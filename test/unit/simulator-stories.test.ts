import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { isTerminalStatus } from '../../src/core/run/snapshot.ts';
import { randomScripts, STORY_NAMES, story, type StoryName } from '../../src/simulator/stories.ts';
import {
  scriptSchema,
  type ScriptInput,
  completeScript,
  runAt,
} from '../../src/simulator/script.ts';

const NOW = Date.parse('2026-01-01T00:00:00.000Z');

function play(input: ScriptInput, elapsedMs: number) {
  const script = completeScript(input, {
    now: NOW,
    speed: 1,
    newId: () => 'run-1',
    workflowId: '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60',
  });
  const answer = runAt(script, NOW - Date.parse(script.created_at) + elapsedMs);
  return answer.kind === 'run' ? answer.run.status : answer.kind;
}

/** All states of a run in its first minute, read ten times a second. */
function history(input: ScriptInput): string[] {
  const looks = Array.from({ length: 600 }, (_, index) => play(input, index * 100));
  return looks.filter((status, index) => status !== looks[index - 1]);
}

const waiting = 'awaiting_human_feedback';

describe('a ready-made run', () => {
  test.each<[StoryName, string[]]>([
    ['completes', ['queued', 'running', 'completed']],
    ['fails', ['queued', 'running', 'failed']],
    ['stops', ['queued', 'running', 'stopped']],
    ['waits_then_completes', ['queued', 'running', waiting, 'running', 'completed']],
    ['waits_forever', ['queued', 'running', waiting]],
    ['awaits_twice', ['queued', 'running', waiting, 'running', waiting, 'running', 'completed']],
    ['unknown_status', ['queued', 'running', 'hibernating', 'running', 'completed']],
    ['deleted', ['queued', 'running', 'not_found']],
    ['rejected', ['rejected']],
    ['appears_late', ['not_found', 'running', 'completed']],
    ['flaky', ['queued', 'running', 'completed']],
    ['already_finished', ['completed']],
    ['never_finishes', ['queued', 'running']],
    ['stalls', ['queued', 'running', 'completed']],
    ['jumps_to_completed', ['queued', 'completed']],
  ])('the ready-made run %s does what it says', (name, expected) => {
    expect(history(story(name))).toEqual(expected);
  });

  test.each(STORY_NAMES)('the ready-made run %s is a valid script', (name) => {
    expect(scriptSchema.safeParse(story(name)).success).toBe(true);
  });
});

describe('random runs', () => {
  const options = fc.record({
    count: fc.constant(20),
    seed: fc.integer({ min: 0, max: 0xffff_ffff }),
    within_ms: fc.integer({ min: 10, max: 100_000 }),
  });

  test('random runs are the same for the same seed, and others for another', () => {
    const scripts = randomScripts({ count: 20, seed: 7, within_ms: 1_000 });
    expect(randomScripts({ count: 20, seed: 7, within_ms: 1_000 })).toEqual(scripts);
    expect(randomScripts({ count: 20, seed: 8, within_ms: 1_000 })).not.toEqual(scripts);
  });

  test('random runs have unique UUIDs as ids', () => {
    const ids = randomScripts({ count: 500, seed: 1, within_ms: 1_000 }).map(({ id }) => id);
    expect(new Set(ids).size).toBe(500);
    for (const id of ids) {
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
  });

  test('random runs all end in time, and are running before that', () => {
    fc.assert(
      fc.property(options, (some) => {
        for (const script of randomScripts(some)) {
          const last = script.steps?.at(-1);
          expect(isTerminalStatus(play(script, some.within_ms))).toBe(true);
          expect(play(script, (last?.after_ms ?? 0) - 1)).toMatch(/queued|running/);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('random runs wait for a human long enough to be seen waiting', () => {
    fc.assert(
      fc.property(options, (some) => {
        const pauseMs = Math.round(some.within_ms / 10);
        for (const { steps = [] } of randomScripts(some)) {
          steps.forEach((step, index) => {
            if (step.status !== waiting) return;
            expect((steps[index + 1]?.after_ms ?? 0) - step.after_ms).toBe(pauseMs);
          });
        }
      }),
      { numRuns: 50 },
    );
  });

  test('random runs reach every terminal status, some after one or two waits for a human', () => {
    const scripts = randomScripts({ count: 300, seed: 3, within_ms: 10_000 });
    const ends = new Set(scripts.map(({ steps }) => steps?.at(-1)?.status));
    const waits = scripts.map(({ steps }) => steps?.filter((one) => one.status === waiting).length);
    expect(ends).toEqual(new Set(['completed', 'failed', 'stopped']));
    expect(new Set(waits)).toEqual(new Set([0, 1, 2]));
  });
});
