/**
 * What steers a terminal or a reader instead of being read: C0 and C1 control characters, marks that
 * reorder text, and the separators of lines and paragraphs.
 */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** An escape of JSON as a whole, so that a backslash which is escaped itself begins none. */
const ESCAPES_AND_CONTROLS = new RegExp(
  String.raw`\\(?:u00[01][0-9a-f]|u007f|.)|${CONTROLS.source}`,
  'giu',
);

/** A text with something else in place of each control character; by default, nothing. */
export function withoutControls(text: string, instead = ''): string {
  return text.replace(CONTROLS, instead);
}

/** JSON that means the same and holds no control character but line feeds. */
export function escapeControls(json: string): string {
  return json.replace(CONTROLS, (control) => (control === '\n' ? control : escaped(control)));
}

/**
 * A line of JSON whose texts, once read, show control characters as escapes instead of holding them;
 * only line feeds and tabs go through.
 */
export function revealControls(json: string): string {
  return json.replace(ESCAPES_AND_CONTROLS, (part) => {
    if (part === '\n') return part;
    if (!part.startsWith('\\')) return `\\${escaped(part)}`;
    return /^\\(u00|[bfr])/i.test(part) ? `\\${part}` : part;
  });
}

function escaped(control: string): string {
  return `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
