import type { FastifyRequest } from 'fastify';
import type { Complete } from '../core/records.ts';
import { dashboardUrl } from '../core/run/links.ts';
import { sourceOfEntry } from '../core/run/workflow-entry.ts';
import { readRunUrl, runsAt, withoutWrapping, type RunAddresses } from '../core/run/run-address.ts';
import type { Process } from '../process.ts';
import type { LookupRequest } from '../redis/stores/lookup-store.ts';
import { sourcesMeant, sourcesOf } from './auth.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['lookup'];

const NOTHING = { data: [], more: false, tried: [] };

/** Finds ids by their beginnings and last parts, and runs by their URLs. */
export class LookupService implements Slice<Own> {
  constructor(private readonly process: Process) {}

  async find({ query, token, host }: Pick<FastifyRequest, 'host'> & Requests<Own>['find']) {
    const { kind, prefix, q, limit, ...rest } = query;
    rest satisfies Record<string, never>;
    // Ids of events and deliveries do not say which source they belong to.
    if (sourcesOf(token) !== undefined && kind !== 'run') return NOTHING;
    const { sources } = sourcesMeant(token);
    const text = q === undefined ? (prefix ?? '') : withoutWrapping(q);
    const url = q === undefined ? null : readRunUrl(text);
    if (url !== null) return kind === 'run' ? this.atUrl(url, { sources, host, limit }) : NOTHING;
    const [usual, typed] = kind === 'run' ? spellingsOf(text) : [text];
    const meant: Complete<LookupRequest> = { kind, prefix: usual, limit, sources };
    const { lookup } = this.process.stores;
    let result = await lookup.find(meant);
    if (result.found.length === 0 && typed !== undefined) {
      result = await lookup.find({ ...meant, prefix: typed });
    }
    const { found, more, sources: tried } = result;
    return { data: found, more, tried: [...tried] };
  }

  /** The run that a URL is of, watched or not. Where that leaves a choice, it is one that is watched. */
  private async atUrl(
    url: URL,
    {
      sources,
      host,
      limit,
    }: { sources?: readonly string[] | undefined; host: string; limit: number },
  ) {
    const { config, stores } = this.process;
    const tried = Object.keys(config.sources).filter((name) => sources?.includes(name) ?? true);
    const runs = runsAt(
      url,
      tried.flatMap((name) => this.addressesOf(name, host)),
    );
    const stored = await stores.watches.getMany(runs);
    const watched = runs.filter((_, at) => stored[at] !== null);
    const meant = watched.length > 0 ? watched : runs;
    const data = meant.map(({ runId, source }) => ({ kind: 'run' as const, id: runId, source }));
    return { data: data.slice(0, limit), more: data.length > limit, tried };
  }

  /** @param host where the API was asked: the dashboard is there, too */
  private addressesOf(source: string, host: string): RunAddresses[] {
    const { config } = this.process;
    const { sources, workflows, server } = config;
    const traits = this.process.traitsOf(source);
    const own = sources[source];
    if (traits === null || own === undefined) return [];
    // The client wrote the host.
    const roots = [
      server.public_url,
      URL.canParse(`http://${host}`) ? `http://${host}` : undefined,
    ];
    const pages = roots.map(
      (root) => root && `${dashboardUrl(root, { source, runId: '' })}{run_id}`,
    );
    const ofWorkflows = Object.entries(workflows).flatMap(([key, entry]) =>
      [null, source].includes(sourceOfEntry(key, sources)) ? [entry.run_url] : [],
    );
    const templates = [own.run_url, ...ofWorkflows, ...pages];
    return [
      {
        source,
        templates: templates.filter((one) => one !== undefined),
        places: [own.base_url],
        traits,
      },
    ];
  }
}

/** How an id may be spelled: most sources have UUIDs in lower case, whatever users type. */
function spellingsOf(prefix: string): [usual: string, typed?: string] {
  const isOfUuid = /^[0-9a-f]{8}(-[0-9a-f-]*)?$/i.test(prefix);
  const usual = isOfUuid ? prefix.toLowerCase() : prefix;
  return usual === prefix ? [usual] : [usual, prefix];
}
