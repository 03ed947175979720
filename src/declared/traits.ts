import {
  idProblemOf,
  idShapeOf,
  parseIdTemplate,
  type IdTemplate,
} from '../core/source/run-template.ts';
import type { SourceTraits } from '../core/source/traits.ts';

/** The parts of ids; the configuration lets no other text pass. */
export function idTemplateOf(text: string): IdTemplate {
  const template = parseIdTemplate(text);
  if (template === null)
    throw new Error(`the configuration lets ids pass that have no form: ${text}`);
  return template;
}

/** What an API can be asked that the configuration declares. */
export function declaredTraits(
  name: string,
  { id, also }: { id: string; also?: object | undefined },
): SourceTraits {
  const template = idTemplateOf(id);
  return {
    label: name,
    idShape: idShapeOf(template),
    idProblem: (runId) => idProblemOf(template, runId),
    canonicalId: (runId) => runId,
    idParts: template,
    idInUrl: () => null,
    lists: null,
    streams: false,
    names: false,
    mayReadTwice: also !== undefined,
    stop: false,
  };
}
