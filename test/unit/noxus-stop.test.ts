import { expect, test } from '@jest/globals';
import { stopRequest } from '../../src/noxus/stop.ts';

/** What the answer to a stop of the run `run-1` comes to; it comes in pieces, as over a network. */
function outcomeOf(status: number, body: string) {
  const answer = stopRequest('run-1').openAnswer();
  for (let at = 0; at < body.length; at += 16_384) {
    answer.take(Buffer.from(body.slice(at, at + 16_384)), status);
  }
  return answer.read(
    { kind: 'answer', status, headers: {}, isCut: false },
    { redact: (text) => text, now: 0, onUnread: () => undefined },
  );
}

test.each(['', 'null', 'true', '"ok"', '[]', '{}', '{"id":7,"status":{}}'])(
  'a success with the body %j took the stop, and shows no status',
  (body) => {
    for (const status of [200, 202]) {
      expect(outcomeOf(status, body)).toEqual({ kind: 'asked', status: null });
    }
  },
);

test.each([200, 201, 202])(
  'a success by status %i with a run too large to be held shows its status',
  (status) => {
    const run = { id: 'RUN-1', input: 'x'.repeat(200_000), status: 'running' };
    expect(outcomeOf(status, JSON.stringify(run))).toEqual({ kind: 'asked', status: 'running' });
  },
);
