import { z } from 'zod';
import { isRulePattern } from '../../core/event/patterns.ts';
import { alertSchema } from './alert.ts';
import { boundedText, count, metadataText, moment, time, untilWhen } from './common.ts';

const values = someOf(boundedText(256));

function someOf(text: z.ZodString) {
  return z.preprocess(
    (given) => (typeof given === 'string' ? [given] : given),
    z
      .array(text, { error: 'expected text or a list of texts' })
      .min(1, 'expected at least one value')
      .max(50, 'expected at most 50 values'),
  );
}

const EXPECTED_TYPES = 'expected types of events such as run.failed, or families such as run.*';

const matchers = z
  .strictObject({
    rule: values.exactOptional(),
    workflow_id: values.exactOptional(),
    source: values.exactOptional(),
    event: values
      // An alert of a deadline is of the type `run.late`, which no event has.
      .refine(
        (types) => types.every((one) => one === 'run.late' || isRulePattern(one)),
        EXPECTED_TYPES,
      )
      .meta({ description: 'Types of events, or families such as `run.*`.' })
      .exactOptional(),
    metadata: z
      .record(boundedText(128), someOf(metadataText(256).min(1, 'expected a value')))
      .refine((entries) => Object.keys(entries).length > 0, 'expected at least one entry')
      .exactOptional(),
  })
  .refine((given) => Object.keys(given).length > 0, {
    error: 'expected at least one of rule, workflow_id, source, event and metadata',
  })
  .meta({
    id: 'SilenceMatchers',
    description: 'All that are given must match; of several values, one.',
    examples: [{ workflow_id: ['3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11'] }],
  });

export const silenceRequest = z
  .strictObject({
    matchers,
    until: untilWhen.meta({ description: 'When it ends: a time, or a duration from now.' }),
    starts_at: moment.meta({ description: 'Absent: now.' }).exactOptional(),
    by: boundedText(128),
    comment: boundedText(1_000),
    key: boundedText(256)
      .meta({ description: 'A second request with the same key creates nothing.' })
      .exactOptional(),
  })
  .meta({
    id: 'SilenceRequest',
    examples: [{ matchers: { rule: ['failed-runs'] }, until: '2h', by: 'ana', comment: 'upgrade' }],
  });

const shownMatchers = z.object({
  rule: z.array(z.string()).exactOptional(),
  workflow_id: z.array(z.string()).exactOptional(),
  source: z.array(z.string()).exactOptional(),
  event: z.array(z.string()).exactOptional(),
  metadata: z.record(z.string(), z.array(z.string())).exactOptional(),
});

const silenceState = z.enum(['pending', 'active', 'expired']).meta({ id: 'SilenceState' });

export const silenceSchema = z
  .object({
    id: z.string(),
    matchers: shownMatchers,
    starts_at: time,
    until: time,
    state: silenceState,
    by: z.string(),
    comment: z.string(),
    key: z.string().nullable(),
    created_at: time,
  })
  .meta({ id: 'Silence', description: 'Suppresses notifications of what it matches.' });

/** A silence for tokens that may write and not read. */
export const silenceOrReceipt = z.union([
  silenceSchema,
  silenceSchema.pick({ id: true, state: true }),
]);

export const silenceList = z.object({ data: z.array(silenceSchema) });

export const silenceParams = z.strictObject({
  id: z.string().regex(/^[\w-]{1,64}$/, 'expected the id of a silence'),
});

export const previewRequest = silenceRequest
  .partial()
  .required({ matchers: true })
  .meta({ id: 'SilencePreviewRequest', examples: [{ matchers: { rule: ['failed-runs'] } }] });

export const silencePreview = z
  .object({
    now: z.object({ alerts: z.array(alertSchema) }).meta({ description: 'Alerts that go on.' }),
    last_24h: z
      .object({
        events: count,
        by_rule: z.record(z.string(), count),
        by_type: z.record(z.string(), count),
      })
      .meta({ description: 'Stored events that rules match.' }),
  })
  .meta({ id: 'SilencePreview', description: 'What a silence matches.' });
