/** Which run a URL is of: `cli/resolve.ts` and `http/lookup.ts` take one in place of an id. */
import { percentDecoded } from '../percent-encoding.ts';
import type { SourceTraits } from '../source/traits.ts';
import type { WatchKey } from '../watch/watch.ts';
import { URL_PLACEHOLDERS } from './links.ts';
import { sourceOfEntry } from './workflow-entry.ts';

/** What a source knows of the addresses of its runs. */
export interface RunAddresses {
  source: string;
  /** Templates of run URLs, of its own and of workflows. */
  templates: readonly string[];
  /** Other URLs at the hosts of its pages and its API. */
  places: readonly string[];
  traits: Pick<SourceTraits, 'idProblem' | 'canonicalId' | 'idParts' | 'idInUrl'>;
}

/** The parts of the configuration that say where the runs of sources are found. */
interface AddressConfig {
  sources: Readonly<Record<string, { base_url: string; run_url?: string | undefined }>>;
  workflows: Readonly<Record<string, { run_url?: string | undefined }>>;
}

/** The addresses of the runs of a source that is configured. */
export function addressesOf(
  source: string,
  traits: RunAddresses['traits'],
  { sources, workflows }: AddressConfig,
): RunAddresses {
  const { base_url, run_url } = sources[source] ?? {};
  const ofWorkflows = Object.entries(workflows).flatMap(([key, entry]) =>
    [null, source].includes(sourceOfEntry(key, sources)) ? [entry.run_url] : [],
  );
  return {
    source,
    templates: [run_url, ...ofWorkflows].filter((one) => one !== undefined),
    places: base_url === undefined ? [] : [base_url],
    traits,
  };
}

/** Characters around an id that come along when it is copied. */
const WRAPPING = ' \t\r\n\u{feff}\u{a0}{}';

/** A text without the white space and braces around it. */
export function withoutWrapping(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && WRAPPING.includes(text.charAt(start))) start += 1;
  while (end > start && WRAPPING.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** Longest URL that is read. */
const MAX_URL_LENGTH = 4_096;

/** The URL that a text is; null for an id, since no id has an empty part between slashes. */
export function readRunUrl(text: string): URL | null {
  if (!text.includes('://') || text.length > MAX_URL_LENGTH) return null;
  return URL.canParse(text) ? new URL(text) : null;
}

/**
 * The runs that a URL may be of: by the templates of sources, else by the form of their pages. A page at the
 * host of a source is of no other source.
 */
export function runsAt(url: URL, all: readonly RunAddresses[]): WatchKey[] {
  const named = runsByTemplate(url, all);
  if (named.length > 0) return named;
  const atHome = all.filter((one) =>
    [...one.templates, ...one.places].some((place) => shapeOf(place, []).host === url.host),
  );
  const possible = atHome.length > 0 ? atHome : all;
  return possible.flatMap((one) => keyOf(one, one.traits.idInUrl(url)));
}

/** The runs that a URL may be of by the templates of sources alone. */
export function runsByTemplate(url: URL, all: readonly RunAddresses[]): WatchKey[] {
  return withoutRepeats(
    all.flatMap((one) =>
      one.templates.flatMap((template) =>
        keyOf(one, idByTemplate(url, template, one.traits.idParts)),
      ),
    ),
  );
}

function keyOf({ source, traits }: RunAddresses, id: string | null): WatchKey[] {
  return id === null || traits.idProblem(id) !== null
    ? []
    : [{ source, runId: traits.canonicalId(id) }];
}

function withoutRepeats(keys: readonly WatchKey[]): WatchKey[] {
  return keys.filter(
    ({ source, runId }, at) =>
      at === keys.findIndex((one) => one.source === source && one.runId === runId),
  );
}

/**
 * The id that filled a template. What the template leaves open of query and fragment may be anything.
 * @returns null where the URL has another form
 */
function idByTemplate(url: URL, template: string, parts: readonly string[]): string | null {
  const names = [...URL_PLACEHOLDERS, ...parts];
  const shape = shapeOf(template, names);
  const values = new Filled(names);
  const isFilled =
    values.fill(shape.host, url.host) &&
    values.fill(withoutSlash(shape.pathname), withoutSlash(url.pathname), percentDecoded) &&
    [...shape.searchParams].every(([name, value]) =>
      // A plus in a query is read as a space, which no id has.
      values.fill(value, (url.searchParams.get(name) ?? '').replaceAll(' ', '+')),
    ) &&
    (shape.hash === '' ||
      values.fill(withoutSlash(shape.hash), fragmentOf(url, shape), percentDecoded));
  return isFilled ? (values.joined(parts) ?? values.get('run_id')) : null;
}

/** Stands for a placeholder in what is parsed as a URL: it changes no letter of it. */
const markOf = (place: number) => `zqjx${Math.max(0, place)}xjqz`;

const MARK = /zqjx(\d+)xjqz/;

/** @param names of placeholders */
function shapeOf(template: string, names: readonly string[]): URL {
  return new URL(
    template.replaceAll(/\{(\w+)\}/g, (_, name: string) => markOf(names.indexOf(name))),
  );
}

/** The values that texts have in the places of placeholders. */
class Filled {
  private readonly values = new Map<string, string>();

  constructor(private readonly names: readonly string[]) {}

  get(name: string): string | null {
    return this.values.get(name) ?? null;
  }

  /** The id that parts make up; null where there are none, or one has no value. */
  joined(parts: readonly string[]): string | null {
    const values = parts.flatMap((name) => this.get(name) ?? []);
    return parts.length === 0 || values.length < parts.length ? null : values.join('/');
  }

  /**
   * Adds the values by which a text fills a shape. Each takes as little as it can, and the last one what is
   * left, so that time grows with the length of the text alone.
   * @returns false where the text does not fill it, or fills a placeholder by two values
   */
  fill(
    shape: string,
    text: string,
    decode: (text: string) => string | null = (same) => same,
  ): boolean {
    const [start = '', ...rest] = shape.split(MARK);
    if (!text.startsWith(start)) return false;
    let at = start.length;
    for (let index = 0; index < rest.length; index += 2) {
      const name = this.names[Number(rest[index])] ?? '';
      const literal = rest[index + 1] ?? '';
      const isLast = index + 2 === rest.length;
      const end = isLast ? endBefore(text, literal) : text.indexOf(literal, at);
      if (end <= at) return false;
      const value = decode(text.slice(at, end));
      if (value === null || (this.get(name) ?? value) !== value) return false;
      this.values.set(name, value);
      at = end + literal.length;
    }
    return at === text.length;
  }
}

function endBefore(text: string, literal: string): number {
  return text.endsWith(literal) ? text.length - literal.length : -1;
}

function withoutSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Programs that keep their address in the fragment have a query there, too. */
function fragmentOf({ hash }: URL, shape: URL): string {
  const [path = ''] = shape.hash.includes('?') ? [hash] : hash.split('?', 1);
  return withoutSlash(path);
}
