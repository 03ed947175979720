import { test } from '@jest/globals';
import fc from 'fast-check';
import { AlertLife, alertSpecs, alertStep } from '../support/alert-life.ts';

/** How many steps are made in all: some seconds' worth unless CI or a user asks for more. */
const STEPS = Number(process.env['ALERT_MODEL_STEPS'] ?? (process.env['CI'] ? 100_000 : 2_000));

/** A slow machine makes fewer: what it has made by then has held, ms. */
const LONGEST_MS = Math.max(60_000, STEPS);

const STEPS_OF_A_LIFE = 40;

test('alerts keep what rules promise, whatever happens in whatever order', () => {
  fc.assert(
    fc.property(
      alertSpecs,
      fc.array(alertStep, { minLength: 1, maxLength: 2 * STEPS_OF_A_LIFE, size: 'max' }),
      fc.nat({ max: 3 }),
      (specs, steps, inhibits) => {
        const life = new AlertLife(specs, inhibits === 0);
        for (const step of steps) {
          life.take(step);
          life.check();
        }
        life.end();
      },
    ),
    { numRuns: Math.ceil(STEPS / STEPS_OF_A_LIFE), interruptAfterTimeLimit: LONGEST_MS },
  );
});
