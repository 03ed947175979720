import { isUuid } from '../core/run/snapshot.ts';
import { didYouMean, suggest, type Finding } from './problems.ts';
import type { Path } from './schema-walk.ts';
import type { Config } from './schema.ts';

type When = Config['endpoints'][string]['when'];

/**
 * Workflows of a filter that match no run: events have the id of a workflow, never its name.
 * @param path of the filter
 */
export function namesOfWorkflows(path: Path, when: When, config: Config): Finding[] {
  const { workflows, sources } = config;
  const discovered = Object.values(sources).flatMap(({ discover }) => discover?.workflows ?? []);
  const known = new Set<string>([...Object.keys(workflows), ...discovered]);
  return (when?.workflow_id ?? []).flatMap((wanted) => {
    if (known.has(wanted) || isUuid(wanted)) return [];
    const id = Object.entries(workflows).find(([, { name }]) => name === wanted)?.[0];
    const message =
      id === undefined
        ? `"${wanted}" is no UUID, as ids of workflows are, so no run matches: give the id, or list it under workflows`
        : `"${wanted}" is the name of a workflow, so no run matches: give its id, ${id}`;
    return [{ path: [...path, 'workflow_id'], message }];
  });
}

/** Owners such as `@ana` of whom no endpoint with messages for people knows the user: nobody would be called. */
export function unknownOwners({ endpoints, rules, workflows }: Config): Finding[] {
  const mentions = Object.values(endpoints).flatMap((endpoint) =>
    'mentions' in endpoint ? [endpoint.mentions] : [],
  );
  if (mentions.length === 0) return [];
  const known = mentions.flatMap((users) => Object.keys(users));
  const owners: { path: Path; owner: string | undefined }[] = [
    ...rules.map(({ owner }, at) => ({ path: ['rules', at, 'owner'], owner })),
    ...Object.entries(workflows).map(([id, { owner }]) => ({
      path: ['workflows', id, 'owner'],
      owner,
    })),
  ];
  return owners.flatMap(({ path, owner }) => {
    if (owner?.startsWith('@') !== true || known.includes(owner)) return [];
    const message = `no endpoint has ${owner} in its mentions, so that messages call no user: add it there`;
    return [{ path, message: `${message}${didYouMean(suggest(owner, known))}` }];
  });
}
