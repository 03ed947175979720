import { isInClear, isLinkLocal } from './hosts.ts';
import type { ObservationDraft } from './problem.ts';
import type { Config } from './schema.ts';

/** What is valid and yet will not work, or not as safely as it could, each with its cure. */
export function adviseOn(config: Config): ObservationDraft[] {
  return [...unreachableEndpoints(config), ...secretsInClear(config)];
}

function unreachableEndpoints({ endpoints }: Config): ObservationDraft[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) => {
    if (endpoint.type !== 'webhook' || !isLinkLocal(new URL(endpoint.url).hostname)) return [];
    const message =
      'no webhook may reach a link-local address, so every delivery would fail: ' +
      'give another address of the receiver';
    return [{ path: ['endpoints', name, 'url'], message }];
  });
}

function secretsInClear({ sources, server }: Config): ObservationDraft[] {
  const findings = Object.entries(sources)
    .filter(([, { base_url: url }]) => isInClear(url))
    .map(([name, { base_url: url }]) => ({
      path: ['sources', name, 'base_url'],
      message: inClear('the API key travels', url),
    }));
  const { public_url: publicUrl } = server;
  if (publicUrl === undefined || !isInClear(publicUrl)) return findings;
  const message = inClear('tokens of the API travel', publicUrl);
  return [...findings, { path: ['server', 'public_url'], message }];
}

function inClear(what: string, url: string): string {
  return `${what} in clear over plain http to ${new URL(url).hostname}: use https`;
}
