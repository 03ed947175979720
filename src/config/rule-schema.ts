import { z } from 'zod';
import { SEVERITIES } from '../core/alert/rule.ts';
import type { TimeInterval } from '../core/alert/time-interval.ts';
import { EVENT_TYPES, familiesOf, SYSTEM_EVENT_TYPES } from '../core/event/event.ts';
import { isRulePattern } from '../core/event/patterns.ts';
import { when } from './endpoint-schema.ts';
import { duration, integer, location, name, optionalDuration, wholeNumber } from './fields.ts';

const RULE_TYPES = [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES];

const RULE_PATTERNS = [...RULE_TYPES, ...familiesOf(RULE_TYPES), 'system.*', '*'];

const eventPattern = z.string({ error: 'expected an event type' }).refine(isRulePattern, {
  error: 'expected an event type, a family such as run.*, or "*"',
  params: { options: RULE_PATTERNS },
});

const eventPatterns = z
  .array(eventPattern, { error: 'expected a list of event types such as [run.failed]' })
  .min(1, 'expected at least one event type');

const EXPECTED_LABEL = 'expected source, workflow_id, event, metadata.<key>, or ... for the run';

const label = z
  .string({ error: EXPECTED_LABEL })
  .regex(/^(source|workflow_id|event|\.\.\.|metadata\..{1,64})$/, EXPECTED_LABEL);

const notify = z
  .array(name, { error: 'expected a list of endpoints such as [chat]' })
  .min(1, 'expected at least one endpoint')
  .max(20, 'expected at most 20 endpoints');

/** Fires at so many events in a time, so many in a row, or a share of the last runs. */
/** Keys of a threshold that go together, both ways round. */
const PAIRS = [
  ['count', 'within'],
  ['within', 'count'],
  ['rate', 'of_last'],
  ['of_last', 'rate'],
] as const;

const isSet = (value: unknown) => value !== undefined;

const threshold = z
  .strictObject({
    count: wholeNumber(1, 1_000).optional(),
    within: optionalDuration({ min: '1s', max: '30d' }),
    consecutive: wholeNumber(1, 1_000).optional(),
    rate: z
      .number()
      .gt(0, 'expected a share above 0')
      .max(1, 'expected a share up to 1')
      .optional(),
    of_last: wholeNumber(1, 1_000).optional(),
    at_least: wholeNumber(1, 1_000).optional(),
  })
  .superRefine(
    ({ count, within, consecutive, rate, of_last: ofLast, at_least: least }, context) => {
      const ways = [[count, within], [consecutive], [rate, ofLast]].filter((way) =>
        way.some((value) => value !== undefined),
      );
      const isWhole = ways.length === 1 && ways[0]?.every((value) => value !== undefined);
      if (isWhole && (least === undefined || (rate !== undefined && least <= (ofLast ?? 0))))
        return;
      const given = { count, within, rate, of_last: ofLast };
      const half = PAIRS.find(([one, other]) => isSet(given[one]) && !isSet(given[other]));
      if (ways.length === 1 && half !== undefined) {
        const [one, other] = half;
        context.addIssue({ code: 'custom', path: [other], message: `expected it beside ${one}` });
        return;
      }
      const message =
        'expected one of: count and within; consecutive; rate and of_last, with at_least up to of_last';
      context.addIssue({ code: 'custom', message });
    },
  );

const absent = z.strictObject({
  event: eventPattern,
  within: duration('1d', { min: '1s', max: '366d' }),
});

const deadline = z
  .strictObject({
    reference: z.enum(['created_at', 'started_at']).default('created_at'),
    interval: optionalDuration({ min: '1s', max: '366d' }),
    of_usual: z
      .strictObject({
        percentile: z.number().min(1).max(99).default(95),
        times: z.number().gt(0).max(1_000).default(2),
      })
      .optional(),
  })
  .refine(({ interval, of_usual: usual }) => (interval === undefined) !== (usual === undefined), {
    error: 'expected either interval or of_usual',
  });

const EXPECTED_TIME = 'expected a time such as 08:00';

function minutes(text: string): number {
  const [hours = 0, rest = 0] = text.split(':').map(Number);
  return hours * 60 + rest;
}

const timeOfDay = z
  .string({ error: EXPECTED_TIME })
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, EXPECTED_TIME)
  .transform(minutes);

const digest = z.strictObject({ at: timeOfDay, location });

const resolve = z
  .strictObject({
    success_threshold: wholeNumber(1, 1_000).optional(),
    after: optionalDuration({ min: '1s', max: '365d' }),
    events: eventPatterns.optional(),
  })
  .refine(
    (ways) => Object.values(ways).filter((value) => value !== undefined).length === 1,
    'expected one of success_threshold, after and events',
  );

const escalation = z.strictObject({
  after: duration('30m', { min: '1s', max: '365d' }),
  unless: z.literal('acknowledged', { error: 'expected acknowledged' }).optional(),
  notify,
});

/** The conditions of a rule, of which it has one at the most. */
const CONDITIONS = ['threshold', 'absent', 'deadline', 'digest'] as const;

export const severity = z.enum(SEVERITIES).meta({ id: 'Severity' });

const ANNOTATION_LENGTH = 1_000;

const rule = z
  .strictObject({
    name,
    events: eventPatterns.optional(),
    when: when.optional(),
    threshold: threshold.optional(),
    absent: absent.optional(),
    deadline: deadline.optional(),
    digest: digest.optional(),
    group_by: z
      .array(label, { error: 'expected a list of labels such as [source, workflow_id]' })
      .max(10, 'expected at most 10 labels')
      .optional(),
    group_wait: duration('30s', { min: '0s', max: '1d' }),
    group_interval: duration('5m', { min: '100ms', max: '30d' }),
    repeat_interval: duration('4h', { min: '1s', max: '365d' }),
    max_runs: integer(5, 0, 50),
    for: duration('0s', { min: '0s', max: '30d' }),
    keep_firing_for: duration('0s', { min: '0s', max: '30d' }),
    resolve: resolve.optional(),
    severity: severity.default('error'),
    owner: z.string().min(1).max(200).optional(),
    annotations: z.record(z.string().min(1).max(64), z.string().max(ANNOTATION_LENGTH)).default({}),
    notify,
    mute_time_intervals: z.array(name).max(20).default([]),
    escalate: z.array(escalation).max(10, 'expected at most 10 steps').default([]),
  })
  .superRefine((given, context) => {
    const issue = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    const [first, second] = CONDITIONS.filter((key) => given[key] !== undefined);
    if (second !== undefined) issue(second, `expected only one of ${first} and ${second}`);
    const ownEvents = first === 'absent' || first === 'deadline';
    if (ownEvents && given.events !== undefined) issue('events', `it has no effect with ${first}`);
    if (!ownEvents && given.events === undefined) {
      issue('events', 'expected a list of event types such as [run.failed]');
    }
    if (first !== undefined && given.resolve !== undefined) {
      issue('resolve', `it has no effect with ${first}`);
    }
  });

export type RuleConfig = z.output<typeof rule>;

const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

const MONTHS = [
  '',
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];

/** `from:to` or one value, each a number or one of some names. */
function range(
  names: readonly string[],
  {
    min,
    max,
    example,
  }: {
    min: number;
    max: number;
    example: string;
  },
) {
  const error = `expected ${example}`;
  const read = (text: string) => {
    const named = names.indexOf(text.toLowerCase());
    return text !== '' && named >= 0 ? named : /^-?\d+$/.test(text) ? Number(text) : NaN;
  };
  return z.union([z.string(), z.number()], { error }).transform((given, context) => {
    const [first = '', last = first] = String(given)
      .trim()
      .split(/\s*:\s*/);
    const [from, to] = [read(first), read(last)];
    const isWithin = [from, to].every((value) => value >= min && value <= max);
    const isOrdered = from <= to || (from > 0 && to < 0);
    if (isWithin && isOrdered) return { from, to };
    context.addIssue({ code: 'custom', message: error });
    return z.NEVER;
  });
}

const clock = z
  .string({ error: EXPECTED_TIME })
  .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'expected a time from 00:00 to 24:00')
  .transform(minutes);

const times = z
  .strictObject({ start_time: clock, end_time: clock })
  .refine(({ start_time: start, end_time: end }) => start < end, {
    error: 'expected start_time before end_time; a night is two: 22:00 to 24:00 and 00:00 to 06:00',
    path: ['end_time'],
  })
  .transform(({ start_time: from, end_time: to }) => ({ from, to }));

const timeInterval = z.strictObject({
  times: z.array(times).max(20).optional(),
  weekdays: z
    .array(range(WEEKDAYS, { min: 0, max: 6, example: 'a day or days such as monday:friday' }))
    .optional(),
  days_of_month: z
    .array(range([], { min: -31, max: 31, example: 'days of a month such as 1:5 or -1' }))
    .optional(),
  months: z
    .array(range(MONTHS, { min: 1, max: 12, example: 'months such as january:march' }))
    .optional(),
  years: z
    .array(range([], { min: 1970, max: 9_999, example: 'years such as 2026:2027' }))
    .optional(),
  location,
});

const timeIntervals = z.record(
  name,
  z.array(timeInterval, { error: 'expected a list of intervals' }).min(1).max(20),
);

/** A time interval in the words of the inside. */
export function intervalOf({
  days_of_month: daysOfMonth,
  ...same
}: z.output<typeof timeInterval>): TimeInterval {
  return { ...same, daysOfMonth };
}

const inhibitRule = z.strictObject({
  source_rule: name,
  target_rule: name,
  equal: z.array(label).max(10).default([]),
});

/** The sections of the configuration that alert rules are made of. */
export const ruleSections = {
  rules: z.array(rule).max(1_000, 'expected at most 1000 rules'),
  time_intervals: timeIntervals,
  inhibit_rules: z.array(inhibitRule).max(1_000),
};
