import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  afterResult,
  longPause,
  NEW_STATE,
  pause,
  permit,
  resume,
  retryNow,
  type EndpointState,
  type EndpointResult,
} from '../../src/core/delivery/endpoint-state.ts';
import { NOON } from '../support/builders.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** The state after results that came a second apart. */
function after(results: EndpointResult['kind'][], start: EndpointState = NEW_STATE, from = NOON) {
  let state = start;
  const alerts = results.flatMap((kind, at) => {
    const now = from + at * 1_000;
    const result: EndpointResult = kind === 'throttled' ? { kind, until: now + 5_000 } : { kind };
    const turn = afterResult(state, result, now);
    state = turn.state;
    return turn.alert ?? [];
  });
  return { state, alerts, now: from + results.length * 1_000 };
}

const times = <Item>(count: number, item: Item): Item[] =>
  Array.from({ length: count }, () => item);

describe('the breaker', () => {
  test('the circuit breaker opens at 70 % failures over ten attempts, and raises one event', () => {
    const nine = after([...times(3, 'delivered' as const), ...times(6, 'failed' as const)]);
    expect(nine.state.breaker).toBe('closed');
    const ten = after(['failed'], nine.state, nine.now);
    expect(ten.state.breaker).toBe('open');
    expect(ten.alerts).toEqual(['endpoint.failing']);
    expect(after(['failed', 'failed'], ten.state, ten.now).alerts).toEqual([]);
  });

  test('the circuit breaker remains closed below that share, and below that number', () => {
    expect(
      after([...times(7, 'delivered' as const), ...times(13, 'failed' as const)]).state.breaker,
    ).toBe('closed');
    expect(after(times(9, 'failed')).state.breaker).toBe('closed');
  });

  test('the circuit breaker forgets results older than five minutes', () => {
    const early = after(times(9, 'failed'));
    expect(after(['failed'], early.state, NOON + 6 * MINUTE).state.breaker).toBe('closed');
  });

  test('an open breaker parks deliveries until a probe is due, and closes when it succeeds', () => {
    const { state } = after(times(10, 'failed'));
    const probeAt = state.probeAt!;
    expect(permit(state, probeAt - 1)).toEqual({ kind: 'park' });
    expect(permit(state, probeAt)).toEqual({ kind: 'probe' });
    const closed = afterResult(state, { kind: 'delivered' }, probeAt);
    expect(closed.alert).toBe('endpoint.recovered');
    expect(permit(closed.state, probeAt)).toEqual({ kind: 'send' });
  });

  test('an open breaker waits longer after each failed probe, up to ten minutes', () => {
    let { state } = after(times(10, 'failed'));
    const delays: number[] = [];
    for (let probe = 0; probe < 8; probe += 1) {
      const now = state.probeAt!;
      ({ state } = afterResult(state, { kind: 'failed' }, now));
      delays.push(state.probeAt! - now);
    }
    expect(delays.slice(0, 3)).toEqual([MINUTE, 2 * MINUTE, 4 * MINUTE]);
    expect(delays.at(-1)).toBe(10 * MINUTE);
  });
});

describe('an endpoint', () => {
  test('a 410 disables an endpoint at once, and later deliveries are skipped', () => {
    const { state, alerts } = after(['delivered', 'gone', 'gone']);
    expect(alerts).toEqual(['endpoint.disabled']);
    expect(permit(state, NOON)).toEqual({ kind: 'skip' });
    expect(permit(resume(state), NOON)).toEqual({ kind: 'send' });
  });

  test('an endpoint is disabled only after five days of failures', () => {
    const failing = after([
      ...times(6, 'delivered' as const),
      ...times(9, 'failed' as const),
    ]).state;
    const before = afterResult(failing, { kind: 'failed' }, NOON + 5 * DAY - 1);
    expect(before.state.disabled).toBeNull();
    const then = afterResult(failing, { kind: 'failed' }, NOON + 5 * DAY + MINUTE);
    expect(then).toMatchObject({
      alert: 'endpoint.disabled',
      state: { disabled: { reason: 'failing' } },
    });
    const twice = after(['failed']).state;
    expect(afterResult(twice, { kind: 'failed' }, NOON + 6 * DAY).state.disabled).toBeNull();
    const once = afterResult(failing, { kind: 'delivered' }, NOON + DAY).state;
    expect(afterResult(once, { kind: 'failed' }, NOON + 5 * DAY).state.disabled).toBeNull();
  });

  test('a pause of a minute or more is named until it ends, and one of less is not', () => {
    const asked = (state: EndpointState, until: number, now: number) =>
      afterResult(state, { kind: 'throttled', until }, now).state;
    const short = asked(NEW_STATE, NOON + 59_000, NOON);
    expect(longPause(short, NOON)).toBeNull();
    const longer = asked(short, NOON + 65_000, NOON + 10_000);
    expect(longPause(longer, NOON + 64_000)).toEqual({ since: NOON, until: NOON + 65_000 });
    expect(longPause(longer, NOON + 65_000)).toBeNull();
    const again = asked(longer, NOON + 120_000, NOON + 70_000);
    expect(longPause(again, NOON + 70_000)).toBeNull();
    expect(longPause(resume(longer), NOON + 20_000)).toBeNull();
    expect(longPause(retryNow(longer, NOON), NOON + 20_000)).toBeNull();
  });

  test('an endpoint that asks for quiet gets it, without effect on its health', () => {
    const { state } = afterResult(NEW_STATE, { kind: 'throttled', until: NOON + 9_000 }, NOON);
    expect(permit(state, NOON)).toEqual({ kind: 'wait', until: NOON + 9_000 });
    expect(permit(state, NOON + 9_000)).toEqual({ kind: 'send' });
    expect(state.failingSince).toBeNull();
  });

  test('a paused endpoint keeps its deliveries, whatever its other state', () => {
    expect(permit(pause(NEW_STATE), NOON)).toEqual({ kind: 'park' });
    const { state } = after(times(10, 'failed'), pause(NEW_STATE));
    expect(permit(state, state.probeAt!)).toEqual({ kind: 'park' });
    expect(permit(resume(state), state.probeAt!)).toEqual({ kind: 'probe' });
  });
});

describe('any life of an endpoint', () => {
  type Step = { kind: EndpointResult['kind'] | 'pause' | 'resume'; afterMs: number };
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('delivered', 'failed', 'throttled', 'gone', 'pause', 'resume'),
    afterMs: fc.nat(DAY),
  });

  test('an endpoint always has a permit for each delivery, and any hold ends without a user', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let state = NEW_STATE;
        let now = NOON;
        for (const { kind, afterMs } of steps) {
          now += afterMs;
          if (kind === 'pause') state = pause(state);
          else if (kind === 'resume') state = resume(state);
          else {
            const result = kind === 'throttled' ? { kind, until: now + 1_000 } : { kind };
            state = afterResult(state, result, now).state;
          }
        }
        // Ten minutes and a quiet later, a delivery that only the state held back may be tried.
        const later = permit(state, now + 11 * MINUTE).kind;
        if (state.disabled !== null) expect(later).toBe('skip');
        else if (state.paused) expect(later).toBe('park');
        else expect(['send', 'probe']).toContain(later);
        expect(state.minutes.length).toBeLessThanOrEqual(5);
      }),
    );
  });
});
