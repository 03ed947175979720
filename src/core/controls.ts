/**
 * Characters that control a terminal or reorder text: C0 and C1 control characters, bidirectional
 * marks, and the separators of lines and paragraphs.
 */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Matches a whole JSON escape, so that an escaped backslash does not begin a new one. */
const ESCAPES_AND_CONTROLS = new RegExp(
  String.raw`\\(?:u00[01][0-9a-f]|u007f|.)|${CONTROLS.source}`,
  'giu',
);

/** The text with `instead` in place of each control character. */
export function withoutControls(text: string, instead = ''): string {
  return text.replace(CONTROLS, instead);
}

/** Equivalent JSON without control characters other than line feeds. */
export function escapeControls(json: string): string {
  return json.replace(CONTROLS, (control) => (control === '\n' ? control : escaped(control)));
}

/**
 * A line of JSON in which control characters inside texts are escaped twice: parsing it yields the
 * escapes, not the characters. Line feeds and tabs pass unchanged.
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
