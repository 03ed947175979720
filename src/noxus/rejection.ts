import { z } from 'zod';

/** How many of the complaints are passed on, and how long the whole may become. */
const MAX_COMPLAINTS = 3;
const MAX_LENGTH = 300;

/**
 * `HTTPValidationError` of Noxus's OpenAPI document; its `input` echoes private data and is not read.
 * Neither is a `detail` of any other form: whoever wrote it may have put anything into it.
 */
const validationError = z.object({
  detail: z.array(
    z.object({
      loc: z.array(z.union([z.string(), z.number()])).catch([]),
      msg: z.string(),
    }),
  ),
});

/**
 * The short text of a 422: what FastAPI says of each field, such as
 * `path.run_id: Input should be a valid UUID`.
 * @param body null where it could not be read
 * @param secret a text that must not come out, should the server repeat it
 */
export function rejectionMessage(body: unknown, secret: string): string {
  const parsed = validationError.safeParse(body);
  if (!parsed.success) return 'status 422 without a reason';
  const text = parsed.data.detail
    .slice(0, MAX_COMPLAINTS)
    .map(({ loc, msg }) => `${loc.join('.')}: ${msg}`)
    .join('; ')
    .replaceAll(secret, '[redacted]')
    .replaceAll(/\s+/g, ' ')
    .trim();
  if (text === '') return 'status 422 without a reason';
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 1)}…` : text;
}
