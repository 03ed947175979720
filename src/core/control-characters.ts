/**
 * Characters that control a terminal, reorder text or hide it: control characters, separators of lines
 * and paragraphs, bidirectional embeddings, overrides and isolates, and tags. Joiners and the marks
 * that Hebrew and Arabic texts need are none of them.
 */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{e0000}-\u{e007f}]/gu;

/** Whatever shows nothing by itself, but white space and joiners. */
const INVISIBLE =
  /(?![^\S\u{feff}]|[\u{200c}\u{200d}])[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

/** What {@link isPlain} asks of a text, for messages. */
export const PLAIN_HINT =
  'expected well-formed text without control, bidirectional and tag characters';

/**
 * The text with `instead` in place of each control character, and U+FFFD in place of each lone
 * surrogate: the scripts of the store refuse JSON with one. Surrogates come first, since two halves may
 * become one character once what stood between them is gone.
 */
export function withoutControls(text: string, instead = ''): string {
  return text.toWellFormed().replace(CONTROLS, instead);
}

/** The text on one line, without characters that its reader cannot see. */
export function visibleLine(text: string): string {
  return text.toWellFormed().replace(INVISIBLE, '').replaceAll(/\s+/g, ' ').trim();
}

/** Whether {@link withoutControls} leaves a text as it is. */
export function isPlain(text: string): boolean {
  return withoutControls(text) === text;
}

/** Equivalent JSON without control characters other than line feeds. */
export function escapeControls(json: string): string {
  return json.replace(CONTROLS, (control) => (control === '\n' ? control : escaped(control)));
}

/** Each UTF-16 unit of a text as JSON and JavaScript escape it. */
export function escaped(text: string): string {
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}
