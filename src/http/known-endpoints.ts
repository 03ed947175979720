import type { RunwatchError } from '../core/errors.ts';
import { refusal } from './problem.ts';
import type { EndpointService, EndpointView } from './services.ts';

/** Most names that a refusal lists. */
const MAX_NAMES = 20;

/** What to throw for a name that no endpoint has; those that there are stand in its words. */
export async function noSuchEndpoint(
  endpoints: EndpointService,
  name: string,
): Promise<RunwatchError> {
  return refusal('endpoint_not_found', unknownEndpoint(name, await endpoints.list()));
}

/** One sentence about a name that no endpoint has. */
export function unknownEndpoint(name: string, views: readonly EndpointView[]): string {
  const names = views.slice(0, MAX_NAMES).map((view) => view.name);
  const more = views.length > MAX_NAMES ? ` and ${views.length - MAX_NAMES} more` : '';
  return `no endpoint is named "${name}"; expected one of: ${names.join(', ')}${more}`;
}
