import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { webhookLine } from '../../src/cli/local/listen.ts';

const received = {
  id: 'evt_1',
  type: 'run.completed',
  receivedAt: Date.parse('2026-01-01T00:00:00.000Z'),
  verified: true,
  problem: null,
  headers: {},
};

test('a webhook about a run becomes a line', () => {
  const body = '{"data":{"run_id":"r1","run":{"status":"completed","progress":100}}}';
  expect(webhookLine({ ...received, body })).toBe(
    '2026-01-01T00:00:00.000Z  ✔  run.completed                r1  completed 100 %  verified',
  );
});

test('a webhook about a run without a snapshot becomes a line', () => {
  const body = '{"data":{"run_id":"r1","run":null,"detection_delay_ms":null}}';
  expect(webhookLine({ ...received, type: 'run.gone', body })).toBe(
    '2026-01-01T00:00:00.000Z  ✔  run.gone                     r1  verified',
  );
});

test('a reminder that a run still waits for a human has its number in the line', () => {
  const run = { status: 'awaiting_human_feedback', progress: 40 };
  const body = JSON.stringify({ data: { run_id: 'r1', run, reminder: 2 } });
  const line = webhookLine({ ...received, type: 'run.awaiting_human_feedback', body });
  expect(line).toMatch(/r1 {2}awaiting_human_feedback 40 % {2}reminder 2 {2}verified$/);
});

test('a webhook that is no event becomes a line that says why it is not trusted', () => {
  const line = webhookLine({
    ...received,
    type: null,
    verified: false,
    problem: 'Missing required headers',
    body: 'hello',
  });
  expect(line).toBe(
    '2026-01-01T00:00:00.000Z  ✘  (not an event)               not verified: Missing required headers',
  );
});

test("no sender's text can control a terminal", () => {
  const rogue = fc.constantFrom('\u001b[2J', '\n', '\u009b', '\u202e', '\u2028', '\r');
  fc.assert(
    fc.property(fc.string(), rogue, (text, bad) => {
      const body = JSON.stringify({
        data: { run_id: `${text}${bad}`, run: { status: bad, progress: 1 } },
      });
      const line = webhookLine({ ...received, type: `run.${bad}`, body });
      expect(line).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
    }),
  );
});
