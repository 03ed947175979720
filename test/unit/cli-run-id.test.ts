import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { findRunId } from '../../src/cli/run-ids.ts';

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
const WORKFLOW = '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11';

describe('where a run id is expected', () => {
  test.each([
    ['run-1', 'run-1'],
    [UUID, UUID],
    [UUID.toUpperCase(), UUID],
    [`  ${UUID}\n`, UUID],
    [`{${UUID}}`, UUID],
    [`"${UUID}",`, UUID],
    [`<(${UUID})>`, UUID],
    [`https://app.noxus.ai/acme/${WORKFLOW}/${UUID}`, UUID],
    [`https://app.noxus.ai/workflows/${WORKFLOW}/runs/${UUID}?tab=logs`, UUID],
    [`https://app.noxus.ai/runs/${UUID}/steps/${WORKFLOW}`, UUID],
    [`https://app.noxus.ai/#/runs/${UUID}`, UUID],
    [`https://app.noxus.ai/view?run=${UUID}`, UUID],
    ['http://127.0.0.1:8789/v1/runs/run-1/', 'run-1'],
    [`<https://app.noxus.ai/acme/${UUID}>`, UUID],
  ])('%j is read as run id %s', (text, id) => {
    expect(findRunId(text)).toBe(id);
  });

  test.each([
    '',
    ' ',
    '{}',
    'null',
    'NULL',
    'undefined',
    'None',
    'NaN',
    'a b',
    '-leading',
    'ünicode',
    'https://app.noxus.ai/',
    'https://',
    '://',
    'x'.repeat(129),
    `${'{'.repeat(5_000)}run-1`,
  ])('%j is read as no run id', (text) => {
    expect(findRunId(text)).toBeNull();
  });

  test('any text is read as no run id or as one of valid form', () => {
    const pieces = fc.array(
      fc.constantFrom('{', '}', ' ', '/', '://', '?', '#', 'runs', 'a', UUID),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((all) => all.join('')),
        ),
        (text) => {
          expect(findRunId(text) ?? 'a').toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
        },
      ),
    );
  });
});
