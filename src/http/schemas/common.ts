import { z } from 'zod';
import { isPlain, PLAIN_HINT } from '../../core/control-characters.ts';
import { type When, DURATION_HINT, parseDuration } from '../../core/time.ts';
import { ID_PATTERN, ID_SHAPE } from '../../core/run/id.ts';
import { PROFILES } from '../../core/watch/watch.ts';
import { PROBLEM_TYPE, PROBLEMS } from '../problem.ts';

/** Listings answer at most this many items a page. */
const MAX_LIMIT = 200;

export const runId = z
  .string()
  .regex(ID_PATTERN, `expected ${ID_SHAPE}`)
  .meta({
    description:
      'The id of a run, in the form that its source has. Of Noxus: 1 to 128 of `A-Z a-z 0-9 . _ -`; a UUID is taken in any case and kept in lower case.',
    examples: ['5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11'],
  });

/** The id of a workflow, in a query. */
export const workflowId = z.string().regex(ID_PATTERN, `expected ${ID_SHAPE}`);

/** Names of sources and endpoints, as the configuration allows them. */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/,
    'expected a name of up to 63 letters, digits, _ and -',
  );

/** How much a watch may cost: see `polling.profile`. */
export const profile = z.enum(PROFILES).meta({ id: 'Profile' });

export const source = name.meta({
  description:
    'The name of a source; absent means the only one that can have the id, or `default` where several can.',
  examples: ['default'],
});

/** How many items an answer has at most: in a query, by decimal digits alone. */
export function limitUpTo(most: number, usual: number) {
  const hint = `expected a whole number from 1 to ${most}`;
  return z
    .preprocess(
      // What else JavaScript takes for a number is a slip here.
      (given: number | string) =>
        typeof given === 'string' && /^\d{1,9}$/.test(given) ? Number(given) : given,
      z.number(hint).int(hint).min(1, hint).max(most, hint),
    )
    .default(usual);
}

export const limit = limitUpTo(MAX_LIMIT, 50).meta({ description: 'Most items of one page.' });

export const cursor = boundedText(512).meta({
  description: 'The `next_cursor` of the page before.',
});

/** A text that is kept, or looked for, as it stands. */
export function boundedText(length: number) {
  return plainText(length).min(1, 'expected a value');
}

/** A text, or none, that is kept as it stands. */
function plainText(length: number) {
  return z
    .string()
    .max(length, `expected at most ${length} characters`)
    .refine(isPlain, PLAIN_HINT);
}

/** A value of metadata: a text in which line feeds may stand. */
export function metadataText(length: number) {
  return z
    .string()
    .max(length, `expected at most ${length} characters`)
    .refine((text) => isPlain(text.replaceAll('\n', ' ')), PLAIN_HINT);
}

/** Most values of one field of a query: more than there are types of events. */
const MAX_VALUES = 50;

/** Several values of one field of a query, by commas or by repeating the field. No value has a comma. */
export function several<Item extends z.ZodType>(item: Item) {
  return z.preprocess(
    (given: string | readonly z.input<Item>[]): unknown[] =>
      [given].flat().flatMap((one: unknown) => (typeof one === 'string' ? one.split(',') : [one])),
    z.array(item).max(MAX_VALUES, `expected at most ${MAX_VALUES} values`),
  );
}

/** The fields that {@link severalIds} made. */
export const idLists = z.registry<object>();

/**
 * Several ids in one field of a query, by commas or by repeating the field. The query is split before it is
 * decoded: a comma of an id is `%2C`.
 */
export function severalIds<Item extends z.ZodType>(item: Item, what: string) {
  return z
    .preprocess(
      (given: string | readonly z.input<Item>[]): unknown[] => [given].flat(),
      z.array(item).max(MAX_VALUES, `expected at most ${MAX_VALUES} values`),
    )
    .meta({ description: `${what}, several by comma; a comma within an id is \`%2C\`.` })
    .register(idLists, {});
}

/** What `parseDuration` reads, as documents can say it. */
const DURATION_PATTERN = '^[0-9]+([.][0-9]+)?(ms|s|m|h|d)$';

/** A duration string within bounds, as milliseconds behind the schema. */
export function duration(min: string, max: string, example: string) {
  const [least, most] = [parseDuration(min) ?? 0, parseDuration(max) ?? Infinity];
  const text = z.string({ error: `expected ${DURATION_HINT}` }).meta({
    description: `A duration from ${min} to ${max}.`,
    pattern: DURATION_PATTERN,
    examples: [example],
  });
  return text.transform((given, context) => {
    const ms = parseDuration(given);
    if (ms !== null && ms >= least && ms <= most) return ms;
    const expected = ms === null ? DURATION_HINT : `a duration from ${min} to ${max}`;
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  });
}

const MOMENT_HINT = 'expected a time such as 2025-05-04T10:00:00Z';

/** A moment in a request: ISO 8601 with its offset from UTC; milliseconds since the epoch behind it. */
export const moment = z.iso
  .datetime({ offset: true, error: MOMENT_HINT })
  .meta({ examples: ['2025-05-04T10:00:00Z'] })
  .transform((text) => Date.parse(text));

/** A moment in a request, or a duration that stands for one. */
function momentOr<Relative>(
  said: string,
  { most, momentOf }: { most: string; momentOf: (ms: number) => Relative },
) {
  const hint = `${MOMENT_HINT}, or ${DURATION_HINT} ${said}`;
  const mostMs = parseDuration(most) ?? 0;
  return z
    .string({ error: hint })
    .meta({ examples: ['2025-05-04T10:00:00Z', '2h'] })
    .transform((text, context): { at: number } | Relative => {
      const ms = parseDuration(text);
      if (ms !== null && ms <= mostMs) return momentOf(ms);
      if (ms !== null) {
        context.addIssue({ code: 'custom', message: `expected a duration of ${most} at the most` });
        return z.NEVER;
      }
      const at = moment.safeParse(text);
      if (at.success) return { at: at.data };
      context.addIssue({ code: 'custom', message: hint });
      return z.NEVER;
    });
}

/** A moment in a request, or how long ago it was. */
export const when = momentOr('for so long ago', {
  most: '3650d',
  momentOf: (agoMs): When => ({ agoMs }),
});

/** A moment in a request that is still to come, or how long from now it is. */
export const untilWhen = momentOr('from now', { most: '365d', momentOf: (inMs) => ({ inMs }) });

/** Bounds of a time, for the fields of a query. */
export function whenRange(what: string) {
  return {
    since: when
      .meta({ description: `${what} at this time or later; or so long ago at most.` })
      .exactOptional(),
    until: when
      .meta({ description: `${what} before this time; or longer ago than that.` })
      .exactOptional(),
  };
}

/** What is wrong with bounds between which nothing can lie. */
export const EMPTY_RANGE = { path: ['until'], error: 'expected a time after since' };

/** A moment in an answer: ISO 8601 UTC with milliseconds. */
export const time = z
  .string()
  .meta({ format: 'date-time', examples: ['2025-05-04T10:00:00.000Z'] });

/** A number of things. */
export const count = z.number().meta({ type: 'integer', minimum: 0 });

/** A number for each of some names. */
export function countsBy<Name extends string>(names: readonly Name[]) {
  const shape = Object.fromEntries(names.map((one) => [one, count]));
  return z.object(shape as Record<Name, typeof count>);
}

/** A whole number of any sign. */
export const integer = z.number().meta({ type: 'integer' });

/** A length of time, ms. */
export const milliseconds = z.number().meta({ type: 'integer', minimum: 0 });

const issue = z
  .object({
    path: z.string().meta({ examples: ['watches.3.run_id'] }),
    message: z.string(),
  })
  .meta({ id: 'Issue', description: 'What is wrong with one field of a request.' });

export const issues = z
  .array(issue)
  .meta({ description: 'What is wrong with the request, by field.' });

export const problemSchema = z
  .object({
    type: z.string().meta({ format: 'uri-reference', examples: ['/problems/invalid_request'] }),
    title: z.string(),
    status: count,
    detail: z.string(),
    code: z.enum(Object.keys(PROBLEMS) as (keyof typeof PROBLEMS)[]).meta({ id: 'ProblemCode' }),
    errors: issues.exactOptional(),
  })
  .meta({
    id: 'Problem',
    description: 'An error, by RFC 9457. `code` never changes its meaning.',
    examples: [
      {
        type: '/problems/invalid_request',
        title: 'The request is not valid',
        status: 422,
        detail: 'query.limit: expected a whole number from 1 to 200',
        code: 'invalid_request',
        errors: [{ path: 'query.limit', message: 'expected a whole number from 1 to 200' }],
      },
    ],
  });

/** The content of an answer that is a problem document, as the document of the API refers to it. */
export const problemReference = {
  [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } },
};

/** An answer that is a problem document, for the `response` of a route. */
export function problemAnswer(description: string) {
  return { description, content: { [PROBLEM_TYPE]: { schema: problemSchema } } };
}

/** A page of a listing that says how many there are. */
export function countedPageOf<Item extends z.ZodType>(item: Item, id: string) {
  return pageOf(item, id).extend(totals).meta({ id });
}

const totals = {
  total: count.meta({ description: 'How many match, on whichever page; counts to 10,000.' }),
  total_capped: z.boolean().meta({ description: 'There are more than `total`.' }),
};

/**
 * A page of a listing, as the API answers it.
 * @param id its name in the document
 */
export function pageOf<Item extends z.ZodType>(item: Item, id: string) {
  return z
    .object({
      data: z.array(item),
      next_cursor: z.string().nullable().meta({ description: 'Null on the last page.' }),
    })
    .meta({ id });
}

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
    comment: plainText(1_000).exactOptional(),
    until: duringOrUntil
      .meta({ description: 'When it expires: a time, or a duration from now. Absent: never.' })
      .exactOptional(),
  })
  .meta({
    id: 'AcknowledgeRequest',
    examples: [{ by: 'ana', comment: 'I ask the customer', until: '2h' }],
  });

export const resolveRequest = z
  .strictObject({
    by: boundedText(128).meta({ description: 'The user that ends it.' }),
    comment: plainText(1_000).exactOptional(),
  })
  .meta({ id: 'ResolveRequest', examples: [{ by: 'ana', comment: 'the provider is up again' }] });

export const acknowledgement = z
  .object({ by: z.string(), comment: z.string().nullable(), at: time, until: time.nullable() })
  .meta({
    id: 'Acknowledgement',
    description: 'A user has taken it in hand: no reminders until its state changes.',
  });
