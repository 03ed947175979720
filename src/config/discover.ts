import { z } from 'zod';
import { duration } from './fields.ts';

/** Each workflow has a list of its own to be read. */
const MOST_WORKFLOWS = 20;

/** Stands for the runs of every workflow, in the place of ids. */
export const ALL_WORKFLOWS = 'all';

const EXPECTED = 'expected all, or a list of workflow ids';

function listOfOne(input: unknown): unknown {
  return input === ALL_WORKFLOWS ? [input] : input;
}

const workflowId = z
  .string({ error: 'expected the id of a workflow' })
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'expected the id of a workflow');

const workflows = z.preprocess(
  listOfOne,
  z
    .array(workflowId, { error: EXPECTED })
    .min(1, EXPECTED)
    .max(MOST_WORKFLOWS, `expected at most ${MOST_WORKFLOWS} workflow ids; all is one list for all`)
    .refine((ids) => ids.length === 1 || !ids.includes(ALL_WORKFLOWS), {
      error: 'expected either all or workflow ids',
    })
    .refine((ids) => new Set(ids).size === ids.length, { error: 'expected each workflow once' }),
);

/** Watches runs without registration, as they appear in the lists of Noxus. */
export const discover = z.strictObject({
  workflows,
  since: z.literal('registration').default('registration'),
  every: duration('10s', { min: '100ms', max: '1h' }),
});
