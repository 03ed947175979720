const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/**
 * The three characters by which Slack marks links, mentions and entities.
 * Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
 */
export function escapeText(text: string): string {
  return text.replaceAll(/[&<>]/g, (character) => ENTITIES[character] ?? character);
}

/** Escaped text of a length at most, which is never cut within an entity or a character. */
export function clip(text: string, most: number): string {
  const escaped = escapeText(text);
  if (escaped.length <= most) return escaped;
  let kept = '';
  for (const character of text) {
    const next = escapeText(character);
    if (kept.length + next.length > most - 1) break;
    kept += next;
  }
  return `${kept}…`;
}

/** Text set as code, where no other mark counts. A backtick would end it, so it is replaced. */
export function inlineText(text: string, most: number): string {
  return `\`${clip(text.replaceAll(/[`\r\n]/g, "'"), most - 2)}\``;
}

/** A time span for people, in its two largest units: `1h 3m`, `2m 5s`, `0.8s`. @param ms 0 or more */
export function spanText(ms: number): string {
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toString()}s`;
  const seconds = Math.floor(ms / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(' ');
}
