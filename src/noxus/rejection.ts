import { withoutControls } from '../core/controls.ts';
import { z } from 'zod';

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
 * @param body null where it could not be read
 * @param secret a text that must not come out, should the server repeat it
 */
export function readRejection(body: unknown, secret: string): Rejection {
  const parsed = validationError.safeParse(body);
  if (!parsed.success) return { message: 'no reason is given', isOfRunId: false };
  const { detail } = parsed.data;
  const text = detail
    .slice(0, MAX_COMPLAINTS)
    .map(({ loc, msg }) => `${loc.join('.')}: ${msg}`)
    .join('; ')
    .replaceAll(secret, '[redacted]')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return {
    message: clip(withoutControls(text) || 'no reason is given'),
    isOfRunId: detail.some(({ loc }) => loc.at(-1) === RUN_ID),
  };
}

function clip(text: string): string {
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 1)}…` : text;
}
