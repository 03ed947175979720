import { describe, expect, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import type { SourceTraits } from '../../src/core/source/traits.ts';
import type { StopOutcome } from '../../src/core/source/stop.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { stopRun } from '../../src/watches/stop.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { newWatch } from '../support/builders.ts';

interface Given {
  traits?: Partial<SourceTraits>;
  /** What the request comes to; the others throw. */
  send: (onSent: () => void) => StopOutcome;
}

/** A source with a permit for each request. Records what is done, in order. */
function aSource({ traits = {}, send }: Given) {
  const did: string[] = [];
  const permit = { settle: () => did.push('settle'), giveBack: () => did.push('give back') };
  const source = testSource({
    process: testProcess({ hostShortages: { note: () => did.push('note') } }),
    traits: { ...NOXUS_TRAITS, ...traits },
    throttle: { read: async () => ({ state: null }) as never },
    limiter: { claimWithin: async () => permit },
    schedule: {
      async expedite(runIds) {
        did.push(`expedite ${runIds.join()}`);
      },
    },
    reader: {
      async stopRun(runId, { onSent = () => undefined } = {}) {
        did.push(`send ${runId}`);
        return send(onSent);
      },
    },
  });
  return { source, did };
}

const watch = newWatch({ runId: 'r' });
const beforeSending = async () => undefined;

const thrown = (code: string) => {
  throw new RunwatchError('it broke', { code });
};

describe('stopRun', () => {
  test('a run is polled after its stop was sent, and the permit is settled', async () => {
    const { source, did } = aSource({ send: () => ({ kind: 'asked', status: 'running' }) });
    const result = await stopRun({ source, watch, beforeSending });
    expect(result).toEqual({ kind: 'asked', status: 'running' });
    expect(did).toEqual(['send r', 'settle', 'expedite r']);
  });

  test.each(['aborted', 'redis_unavailable'])(
    'a stop that was sent when it ended by %s is unanswered: whether it was done is not known',
    async (code) => {
      const { source } = aSource({
        send(onSent) {
          onSent();
          return thrown(code);
        },
      });
      expect(await stopRun({ source, watch, beforeSending })).toMatchObject({ kind: 'unanswered' });
    },
  );

  test.each([
    ['has no answer', () => ({ kind: 'unanswered' as const, message: 'refuses connections' })],
    ['is given up', () => thrown('aborted')],
    ['finds no connection', () => thrown('host_exhausted')],
  ])('a stop that %s before it was sent is unsent', async (_name, send) => {
    const { source } = aSource({ send });
    expect(await stopRun({ source, watch, beforeSending })).toMatchObject({ kind: 'unsent' });
  });

  test('a stop whose key cannot be kept is not sent, and gives its permit back', async () => {
    const { source, did } = aSource({ send: () => ({ kind: 'asked', status: null }) });
    const refused = stopRun({ source, watch, beforeSending: async () => thrown('redis_refuses') });
    await expect(refused).rejects.toMatchObject({ code: 'redis_refuses' });
    expect(did).toEqual(['give back']);
  });

  test.each([
    [
      'a source that cannot stop runs',
      aSource({ traits: { stop: false }, send: () => thrown('x') }),
    ],
    ['a source that is configured no more', { source: undefined, did: [] }],
  ])('a stop is not offered by %s', async (_name, { source, did }) => {
    expect(await stopRun({ source, watch, beforeSending })).toEqual({ kind: 'not_offered' });
    expect(did).toEqual([]);
  });

  test('a stop of a run that is gone sends nothing', async () => {
    const { source, did } = aSource({ send: () => thrown('x') });
    const gone = { ...watch, state: 'gone' as const };
    expect(await stopRun({ source, watch: gone, beforeSending })).toMatchObject({ kind: 'ended' });
    expect(did).toEqual([]);
  });
});
