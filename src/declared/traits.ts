import {
  idProblemOf,
  idShapeOf,
  parseIdTemplate,
  parseRequestTemplate,
  type IdTemplate,
  type RequestTemplate,
} from '../core/source/run-template.ts';
import type { ListTraits, SourceTraits } from '../core/source/traits.ts';
import type { MappingDeclaration } from './mapping.ts';

/** The parts of ids; the configuration lets no other text pass. */
export function idTemplateOf(text: string): IdTemplate {
  const template = parseIdTemplate(text);
  if (template === null)
    throw new Error(`the configuration lets ids pass that have no form: ${text}`);
  return template;
}

/** A request; the configuration lets no other text pass. @param parts the names that may stand in braces */
export function requestTemplateOf(text: string, parts: readonly string[]): RequestTemplate {
  const parsed = parseRequestTemplate(text, parts);
  if ('template' in parsed) return parsed.template;
  throw new Error(`the configuration lets a request pass that is none: ${text}`);
}

/** Whether more than the newest page of a list can be asked for. */
export function hasPages(get: string): boolean {
  return get.includes('{page}') || get.includes('{offset}');
}

/** What of the configuration says what an API can be asked. */
interface DeclaredTraits extends Pick<MappingDeclaration, 'states' | 'absent' | 'also'> {
  readonly id: string;
  readonly run: { readonly attempt?: string | undefined };
  readonly probe?: string | undefined;
  readonly list?: { readonly get: string; readonly size: number } | undefined;
}

const WAITING = 'awaiting_human_feedback';

/** What an API can be asked that the configuration declares. */
export function declaredTraits(
  name: string,
  { id, run, states, absent, also, probe, list }: DeclaredTraits,
): SourceTraits {
  const template = idTemplateOf(id);
  return {
    label: name,
    idShape: idShapeOf(template),
    idProblem: (runId) => idProblemOf(template, runId),
    canonicalId: (runId) => runId,
    idParts: template,
    idInUrl: () => null,
    lists: list === undefined ? null : listTraits(list, also === undefined),
    // A page of a list shows as well that it answers.
    probes: probe !== undefined || list !== undefined,
    waits: [states, also?.states].some((one) => one?.[WAITING] !== undefined) || absent === WAITING,
    streams: false,
    names: false,
    mayReadTwice: also !== undefined,
    attempts: run.attempt !== undefined,
    stop: false,
  };
}

/** A list shows less than a run whose status takes a second read, so that it cannot stand in for that. */
function listTraits(
  { get, size }: NonNullable<DeclaredTraits['list']>,
  standIn: boolean,
): ListTraits {
  return {
    pageSize: size,
    pages: hasPages(get) ? Infinity : 1,
    byWorkflow: false,
    endsAreFinal: false,
    standIn,
  };
}
