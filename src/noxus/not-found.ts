import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import { parseJson } from '../fetch/body.ts';
import type { ReadContext } from '../fetch/request.ts';

type Redact = ReadContext['redact'];

/*
 * Whether Noxus itself says that it has no such run, which is what makes a run `run.gone` in the end
 * (`core/watch/gone.ts`): by a 404 in its own words, or by a 422 on the run id.
 */

/** Noxus says in JSON that it has no such run (`detail`); what a proxy says is no word on the run. */
export function readNotFound(body: string): PollResult {
  const said = parseJson(body);
  return typeof said === 'object' && said !== null && 'detail' in said
    ? { kind: 'not_found' }
    : { kind: 'unavailable', message: "status 404 without Noxus's own words: a proxy's answer?" };
}

/**
 * Only a complaint about the run id is about the run; any other is about how it was asked for.
 * @param redact takes out what must not come out, should the server repeat it
 */
export function readUnprocessable(body: string, redact: Redact): PollResult {
  const { message, isOfRunId } = readRejection(parseJson(body), redact);
  return isOfRunId
    ? { kind: 'rejected', message }
    : { kind: 'unavailable', message: `status 422, not about the run id: ${message}` };
}

/** How many of the complaints are passed on, and how long the whole may become. */
const MAX_COMPLAINTS = 3;
const MAX_LENGTH = 300;

/** What FastAPI calls the part of the path that names the run. */
const RUN_ID = 'run_id';

/**
 * `HTTPValidationError` of Noxus's OpenAPI document; its `input` echoes private data and is not read.
 * Neither is a `detail` of any other form: it may hold anything.
 */
const validationError = z.object({
  detail: z.array(
    z.object({
      loc: z.array(z.union([z.string(), z.number()])).catch([]),
      msg: z.string(),
    }),
  ),
});

/** What a 422 says. */
interface Rejection {
  /**
   * The short text of it: what FastAPI says of each field, such as
   * `path.run_id: Input should be a valid UUID`.
   */
  message: string;
  /** True where it complains about the run id. */
  isOfRunId: boolean;
}

/**
 * Why Noxus refuses, in its own words, where a user has asked for it: `detail` as a text, or what FastAPI says of
 * each field. Null where there are none.
 */
export function saidIn(body: string, redact: Redact): string | null {
  const said = parseJson(body);
  const text = z.object({ detail: z.string() }).safeParse(said);
  if (text.success) return passedOn(text.data.detail, redact) || null;
  const { message } = readRejection(said, redact);
  return message === NO_REASON ? null : message;
}

const NO_REASON = 'no reason is given';

/**
 * @param body null where it could not be read
 * @param redact takes out what must not come out, should the server repeat it
 */
function readRejection(body: unknown, redact: Redact): Rejection {
  const parsed = validationError.safeParse(body);
  if (!parsed.success) return { message: NO_REASON, isOfRunId: false };
  const { detail } = parsed.data;
  const text = detail
    .slice(0, MAX_COMPLAINTS)
    .map(({ loc, msg }) => `${loc.join('.')}: ${msg}`)
    .join('; ');
  return {
    message: passedOn(text, redact) || NO_REASON,
    isOfRunId: detail.some(({ loc }) => loc.at(-1) === RUN_ID),
  };
}

/** A text of Noxus on one line, without what must not come out and without control characters. */
function passedOn(text: string, redact: Redact): string {
  return clip(withoutControls(redact(text).replaceAll(/\s+/g, ' ').trim()));
}

function clip(text: string): string {
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 1).toWellFormed()}…` : text;
}
