/** How much of an answer is kept for people to read. */
export const RESPONSE_TEXT_BYTES = 1_024;

/**
 * Control characters but tab and line feed, and marks that reorder text: printed as they are, an
 * answer could move a terminal's cursor or make a log line read backwards.
 */
const UNPRINTABLE = /[^\P{Cc}\t\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** The start of an answer as harmless text of at most 1 KiB of its bytes. */
export function responseText(head: Uint8Array): string {
  const bytes = head.subarray(0, RESPONSE_TEXT_BYTES);
  // `stream` leaves off a character that the cut goes through.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return text.replaceAll('\r\n', '\n').replace(UNPRINTABLE, '\ufffd');
}
