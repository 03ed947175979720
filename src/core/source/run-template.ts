import { ID_PATTERN, ID_SHAPE } from '../run/id.ts';

/** What the parts of an id stand for in one run. */
export type IdParts = Readonly<Record<string, string>>;

/** The names of the parts of an id, the last of which takes what is left: `['owner', 'repo', 'run']`. */
export type IdTemplate = readonly string[];

/** What {@link parseIdTemplate} reads, for messages: follows "expected". */
export const ID_TEMPLATE_SHAPE =
  'parts in braces between slashes, each name once, such as {run} or {owner}/{repo}/{run}';

const ID_TEMPLATE = /^\{[a-z][a-z0-9_]*\}(\/\{[a-z][a-z0-9_]*\}){0,7}$/;

/** Parses how the ids of a source are made up; null for what is no such template. */
export function parseIdTemplate(text: string): IdTemplate | null {
  if (!ID_TEMPLATE.test(text)) return null;
  const names = text.split('/').map((part) => part.slice(1, -1));
  return new Set(names).size === names.length ? names : null;
}

/** What ids look like, for messages: follows "expected". */
export function idShapeOf(template: IdTemplate): string {
  const [first = '', ...others] = template;
  return others.length === 0 ? ID_SHAPE : `${[first, ...others].join('/')}: ${ID_SHAPE}`;
}

/** Why no run can have this id, as a message; null where one can. */
export function idProblemOf(template: IdTemplate, runId: string): string | null {
  return splitId(template, runId) === null ? `expected ${idShapeOf(template)}` : null;
}

/** Servers and proxies take a backslash for a slash, also an encoded one. */
const BACKSLASH = '\\';

/** The parts of an id; null where no run can have it. */
export function splitId(template: IdTemplate, runId: string): IdParts | null {
  if (!ID_PATTERN.test(runId) || runId.includes(BACKSLASH)) return null;
  const segments = runId.split('/');
  if (segments.length < template.length) return null;
  const last = template.length - 1;
  return Object.fromEntries(
    template.map((name, at) => [
      name,
      at === last ? segments.slice(last).join('/') : (segments[at] ?? ''),
    ]),
  );
}

/** What the source itself calls the run: the last part of its id. */
export function ownIdOf(template: IdTemplate, parts: IdParts): string {
  return parts[template.at(-1) ?? ''] ?? '';
}

/** The id that is made up of these values, one a part; null where no run can have it. */
export function joinId(template: IdTemplate, values: readonly string[]): string | null {
  const runId = values.join('/');
  const parts = splitId(template, runId);
  return parts !== null && template.every((name, at) => parts[name] === values[at]) ? runId : null;
}

/** The parts of a request for a page of a list. */
export const PAGE_PARTS = ['size', 'page', 'offset'];

/** A request of which ids are a part: text, and the names of parts of an id. */
export type RequestTemplate = readonly ({ text: string } | { part: string; isInQuery: boolean })[];

const PLACEHOLDER = /\{([^{}]*)\}/g;

/** What a path and query may hold beside placeholders (RFC 3986). */
const URL_TEXT = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*$/;

/** A segment that URLs leave out, or take for another, in whatever spelling. */
const DOTS = /(^|\/)(\.|%2e){1,2}(\/|$)|\/\/|%(2f|5c)/i;

/**
 * Parses the template of a request: a path below the base URL, with a query perhaps.
 * @param parts the names that may stand in braces
 * @returns the template, or what was expected
 */
export function parseRequestTemplate(
  text: string,
  parts: readonly string[],
): { template: RequestTemplate } | { expected: string } {
  const names = [...text.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
  const unknown = names.find((name) => !parts.includes(name));
  if (unknown !== undefined) {
    const known = parts.map((name) => `{${name}}`).join(', ');
    return { expected: parts.length === 0 ? 'no braces' : `only ${known} in braces` };
  }
  const bare = text.replaceAll(PLACEHOLDER, 'x');
  if (!text.startsWith('/')) return { expected: 'a path that begins with /, below base_url' };
  if (!URL_TEXT.test(bare) || /%(?![0-9a-f]{2})/i.test(bare)) {
    return { expected: 'a path and query of a URL, percent-encoded where needed, without #' };
  }
  const [path = ''] = bare.split('?');
  if (DOTS.test(path)) {
    return { expected: 'a path without . and .. between slashes, empty parts, %2f and %5c' };
  }
  return { template: piecesOf(text) };
}

function piecesOf(text: string): RequestTemplate {
  const queryAt = text.indexOf('?');
  return text
    .slice(1)
    .split(/(\{[^{}]*\})/)
    .filter((piece) => piece !== '')
    .reduce<{ at: number; pieces: RequestTemplate }>(
      ({ at, pieces }, piece) => ({
        at: at + piece.length,
        pieces: [
          ...pieces,
          piece.startsWith('{')
            ? { part: piece.slice(1, -1), isInQuery: queryAt !== -1 && at > queryAt }
            : { text: piece },
        ],
      }),
      { at: 1, pieces: [] },
    ).pieces;
}

/**
 * The path and query of a request, without a slash at its beginning. Each segment of a part is encoded by
 * itself. Slashes are kept in the path, since an encoded one is another path to most servers.
 */
export function fillTemplate(template: RequestTemplate, parts: IdParts): string {
  return template
    .map((piece) => {
      if ('text' in piece) return piece.text;
      const value = parts[piece.part] ?? '';
      if (piece.isInQuery) return encodeURIComponent(value);
      return value.includes('/')
        ? value.split('/').map(encodeURIComponent).join('/')
        : encodeURIComponent(value);
    })
    .join('');
}
