import { z } from 'zod';
import { boundedText, duration, moment, time } from './common.ts';

const duringOrUntil = z.union(
  [
    moment.transform((at) => ({ at })),
    duration('1s', '365d', '2h').transform((inMs) => ({ inMs })),
  ],
  { error: 'expected a time such as 2025-05-04T10:00:00Z, or a duration from now such as 2h' },
);

export const acknowledgeRequest = z
  .strictObject({
    by: boundedText(128).meta({ description: 'The user that has taken it in hand.' }),
    comment: z.string().max(1_000, 'expected at most 1000 characters').exactOptional(),
    until: duringOrUntil
      .meta({ description: 'When it expires: a time, or a duration from now. Absent: never.' })
      .exactOptional(),
  })
  .meta({
    id: 'AcknowledgeRequest',
    examples: [{ by: 'ana', comment: 'I ask the customer', until: '2h' }],
  });

export const acknowledgement = z
  .object({ by: z.string(), comment: z.string().nullable(), at: time, until: time.nullable() })
  .meta({
    id: 'Acknowledgement',
    description: 'A user has taken it in hand: no reminders until its state changes.',
  });
