/**
 * Characters that control a terminal or reorder text: C0 and C1 control characters, bidirectional
 * marks, and the separators of lines and paragraphs.
 */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * The text with `instead` in place of each control character, and U+FFFD in place of each lone
 * surrogate: the scripts of the store refuse JSON with one.
 */
export function withoutControls(text: string, instead = ''): string {
  return text.replace(CONTROLS, instead).toWellFormed();
}

/** Equivalent JSON without control characters other than line feeds. */
export function escapeControls(json: string): string {
  return json.replace(CONTROLS, (control) => (control === '\n' ? control : escaped(control)));
}

function escaped(control: string): string {
  return `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
