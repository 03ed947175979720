/** How much of an answer is kept for people to read. */
export const RESPONSE_TEXT_BYTES = 1_024;

/**
 * Control characters but tab and line feed, and marks that reorder text: printed as they are, an
 * answer could move a terminal's cursor or make a log line read backwards.
 */
const UNPRINTABLE = /[^\P{Cc}\t\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

const REDACTED = '[redacted]';

/** A shorter value is no credential, and would be found in words that mean something else. */
const LEAST_SECRET_LENGTH = 8;

/**
 * The start of an answer as harmless text of at most 1 KiB of its bytes.
 * @param sent values of headers that went out, which a receiver may repeat but nobody may read here
 */
export function responseText(head: Uint8Array, sent: readonly string[] = []): string {
  if (head.length === 0) return '';
  const bytes = head.subarray(0, RESPONSE_TEXT_BYTES);
  // `stream` leaves off a character that the cut goes through.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return credentialsIn(sent)
    .reduce(withoutSecret, text)
    .replaceAll('\r\n', '\n')
    .replace(UNPRINTABLE, '\ufffd');
}

/** Each value as a whole, and what follows a scheme such as `Bearer`. */
function credentialsIn(values: readonly string[]): string[] {
  return values
    .flatMap((value) => [value, value.slice(value.indexOf(' ') + 1)])
    .filter((value) => value.length >= LEAST_SECRET_LENGTH);
}

function withoutSecret(text: string, secret: string): string {
  const clean = text.replaceAll(secret, REDACTED);
  // The cut may have gone through one.
  for (let length = secret.length - 1; length >= LEAST_SECRET_LENGTH; length -= 1) {
    if (clean.endsWith(secret.slice(0, length))) return clean.slice(0, -length) + REDACTED;
  }
  return clean;
}
