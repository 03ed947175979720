import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { PageView } from '../../client/types.ts';
import { messageOf, RunwatchError } from '../../core/errors.ts';
import { count, number } from '../render/text.ts';
import { quoted, visibleData } from './texts.ts';

/** Hints on tools that change nothing. Answers hold texts from outside. */
export const READS = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: true,
};

/** Hints on tools that change something; a second call changes nothing more. */
export const WRITES = {
  readOnlyHint: false,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: true,
};

/** An argument that there is not is refused: a filter that is misspelt would leave nothing out. */
export function argumentsOf<Shape extends z.ZodRawShape>(shape: Shape) {
  const expected = Object.keys(shape).join(', ') || 'none';
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `there is no argument ${issue.keys.join(', ')}; arguments are: ${expected}`
        : undefined,
  });
}

/** An argument that takes one value or a list of values. */
export function oneOrMore<Value extends z.ZodType>(value: Value) {
  return z.union([value, z.array(value).min(1)]);
}

/** Most characters of structured content: clients show it to a model, as they do with texts. */
const MOST_STRUCTURED = 65_536;

/** The answer of a tool: words for the model, and the API's answer for programs, unless it is long. */
export function answer(text: string, data: object): CallToolResult {
  const visible = visibleData(data) as Record<string, unknown>;
  if (JSON.stringify(visible).length <= MOST_STRUCTURED) {
    return { content: [{ type: 'text', text }], structuredContent: visible };
  }
  return answerInWords(
    `${text}\nThere is no structured content, since it would be too long; a lower limit brings it.`,
  );
}

export function answerInWords(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

/** Codes of errors in this program's own words; those of the daemon may repeat what others wrote. */
const OWN_WORDS: ReadonlySet<string> = new Set([
  'usage',
  'ambiguous_id',
  'run_not_found',
  'watch_not_found',
  'alert_not_found',
  'batch_not_found',
  'silence_not_found',
  'delivery_not_found',
]);

/** What is said of an error, with what others wrote in quotes. */
export function errorText(error: unknown): string {
  const isOwn = error instanceof RunwatchError && OWN_WORDS.has(error.code);
  return isOwn ? error.message : `The call failed: ${quoted(messageOf(error))}`;
}

/** Most items of a listing in one answer. */
const MOST_LISTED = 100;

const LISTED = 20;

const limit = z
  .number()
  .int()
  .min(1)
  .max(MOST_LISTED)
  .optional()
  .describe(`how many, ${MOST_LISTED} at most; default ${LISTED}`);

/** Arguments of a listing that has pages. */
export const paging = {
  limit,
  cursor: z
    .string()
    .optional()
    .describe('for the next page: the cursor in the last line of the answer before'),
};

/** The argument of a listing that the API answers whole. */
export const cutting = { limit };

/** A query with as many items as are asked for. */
export function limited<Query extends { limit?: number | undefined }>(query: Query) {
  return { ...query, limit: query.limit ?? LISTED };
}

/** The first items of a listing that the API answers whole. */
export function cut<Item>(items: readonly Item[], most: number = LISTED): PageView<Item> {
  return { data: items.slice(0, most), next_cursor: null, total: items.length };
}

/** What a listing holds, for its last line: such as `run` and `runs`, and what comes first. */
export interface Listed {
  what: readonly [one: string, many: string];
  order: string;
  /** True where the API answers it whole, so that only a limit cuts it. */
  isWhole?: boolean;
  /** True for a page that a cursor led to: others came before it. */
  isLater?: boolean;
}

/** How many of how many are shown, and how to see the next ones. */
export function shownText(
  { data, next_cursor: next, total, total_capped: isCapped }: PageView<unknown>,
  { what: [one, many], order, isWhole = false, isLater = false }: Listed,
): string {
  const shown = data.length;
  const isAll = next === null && !isLater && (total ?? shown) === shown;
  if (isAll) return `${count(shown, one, many)} in all, ${order}.`;
  const most = isCapped === true ? 'more than ' : '';
  const of = total === undefined ? '' : ` of ${most}${number(total)}`;
  return `${number(shown)}${of} ${many} are shown, ${order}; ${nextText(next, isWhole, shown)}`;
}

function nextText(next: string | null, isWhole: boolean, shown: number): string {
  if (next !== null) {
    return `for the next ones call again with the same arguments and cursor=${next}`;
  }
  if (!isWhole) return 'this is the last page.';
  return shown < MOST_LISTED ? 'a higher limit shows more.' : 'no more can be shown.';
}
