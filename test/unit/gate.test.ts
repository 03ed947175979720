import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  afterResult,
  enable,
  NEW_GATE,
  pause,
  permit,
  resume,
  type Gate,
  type GateResult,
} from '../../src/core/gate.ts';
import { NOON } from '../support/builders.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A gate after results that came a second apart. */
function after(results: GateResult['kind'][], start: Gate = NEW_GATE, from = NOON) {
  let gate = start;
  const alerts = results.flatMap((kind, at) => {
    const now = from + at * 1_000;
    const result: GateResult = kind === 'throttled' ? { kind, until: now + 5_000 } : { kind };
    const turn = afterResult(gate, result, now);
    gate = turn.gate;
    return turn.alert ?? [];
  });
  return { gate, alerts, now: from + results.length * 1_000 };
}

const times = <Item>(count: number, item: Item): Item[] =>
  Array.from({ length: count }, () => item);

describe('the breaker', () => {
  test('opens at 70 % failures over ten attempts, and says so once', () => {
    const nine = after([...times(3, 'delivered' as const), ...times(6, 'failed' as const)]);
    expect(nine.gate.breaker).toBe('closed');
    const ten = after(['failed'], nine.gate, nine.now);
    expect(ten.gate.breaker).toBe('open');
    expect(ten.alerts).toEqual(['endpoint.failing']);
    expect(after(['failed', 'failed'], ten.gate, ten.now).alerts).toEqual([]);
  });

  test('stays closed below that share, and below that number', () => {
    expect(
      after([...times(7, 'delivered' as const), ...times(13, 'failed' as const)]).gate.breaker,
    ).toBe('closed');
    expect(after(times(9, 'failed')).gate.breaker).toBe('closed');
  });

  test('forgets what is older than five minutes', () => {
    const early = after(times(9, 'failed'));
    expect(after(['failed'], early.gate, NOON + 6 * MINUTE).gate.breaker).toBe('closed');
  });

  test('parks everything until it is time for a probe, and closes when that is delivered', () => {
    const { gate } = after(times(10, 'failed'));
    const probeAt = gate.probeAt!;
    expect(permit(gate, probeAt - 1)).toEqual({ kind: 'park' });
    expect(permit(gate, probeAt)).toEqual({ kind: 'probe' });
    const closed = afterResult(gate, { kind: 'delivered' }, probeAt);
    expect(closed.alert).toBe('endpoint.recovered');
    expect(permit(closed.gate, probeAt)).toEqual({ kind: 'send' });
  });

  test('waits longer after each probe that fails, up to ten minutes', () => {
    let { gate } = after(times(10, 'failed'));
    const delays: number[] = [];
    for (let probe = 0; probe < 8; probe += 1) {
      const now = gate.probeAt!;
      ({ gate } = afterResult(gate, { kind: 'failed' }, now));
      delays.push(gate.probeAt! - now);
    }
    expect(delays.slice(0, 3)).toEqual([MINUTE, 2 * MINUTE, 4 * MINUTE]);
    expect(delays.at(-1)).toBe(10 * MINUTE);
  });
});

describe('an endpoint', () => {
  test('is disabled at once by 410, and later deliveries are skipped', () => {
    const { gate, alerts } = after(['delivered', 'gone', 'gone']);
    expect(alerts).toEqual(['endpoint.disabled']);
    expect(permit(gate, NOON)).toEqual({ kind: 'skip' });
    expect(permit(enable(gate), NOON)).toEqual({ kind: 'send' });
  });

  test('is disabled after five days of failures only', () => {
    const failing = after([...times(6, 'delivered' as const), ...times(9, 'failed' as const)]).gate;
    const before = afterResult(failing, { kind: 'failed' }, NOON + 5 * DAY - 1);
    expect(before.gate.disabled).toBeNull();
    const then = afterResult(failing, { kind: 'failed' }, NOON + 5 * DAY + MINUTE);
    expect(then).toMatchObject({
      alert: 'endpoint.disabled',
      gate: { disabled: { reason: 'failing' } },
    });
    const twice = after(['failed']).gate;
    expect(afterResult(twice, { kind: 'failed' }, NOON + 6 * DAY).gate.disabled).toBeNull();
    const once = afterResult(failing, { kind: 'delivered' }, NOON + DAY).gate;
    expect(afterResult(once, { kind: 'failed' }, NOON + 5 * DAY).gate.disabled).toBeNull();
  });

  test('that asks for quiet gets it, and no judgement', () => {
    const { gate } = afterResult(NEW_GATE, { kind: 'throttled', until: NOON + 9_000 }, NOON);
    expect(permit(gate, NOON)).toEqual({ kind: 'wait', until: NOON + 9_000 });
    expect(permit(gate, NOON + 9_000)).toEqual({ kind: 'send' });
    expect(gate.failingSince).toBeNull();
  });

  test('that is paused keeps its deliveries, whatever else is so', () => {
    expect(permit(pause(NEW_GATE), NOON)).toEqual({ kind: 'park' });
    const { gate } = after(times(10, 'failed'), pause(NEW_GATE));
    expect(permit(gate, gate.probeAt!)).toEqual({ kind: 'park' });
    expect(permit(resume(gate), gate.probeAt!)).toEqual({ kind: 'probe' });
  });
});

describe('any life of a gate', () => {
  type Step = { kind: GateResult['kind'] | 'pause' | 'resume' | 'enable'; afterMs: number };
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('delivered', 'failed', 'throttled', 'gone', 'pause', 'resume', 'enable'),
    afterMs: fc.nat(DAY),
  });

  test('has an answer for each delivery, and one that ends by itself unless a human is asked for', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let gate = NEW_GATE;
        let now = NOON;
        for (const { kind, afterMs } of steps) {
          now += afterMs;
          if (kind === 'pause') gate = pause(gate);
          else if (kind === 'resume') gate = resume(gate);
          else if (kind === 'enable') gate = enable(gate);
          else {
            const result = kind === 'throttled' ? { kind, until: now + 1_000 } : { kind };
            gate = afterResult(gate, result, now).gate;
          }
        }
        // Ten minutes and a quiet spell later whatever is held back by the gate itself may be tried.
        const later = permit(gate, now + 11 * MINUTE).kind;
        if (gate.disabled !== null) expect(later).toBe('skip');
        else if (gate.paused) expect(later).toBe('park');
        else expect(['send', 'probe']).toContain(later);
        expect(gate.minutes.length).toBeLessThanOrEqual(5);
      }),
    );
  });
});
