import type { FastifyRequest } from 'fastify';
import { withoutEndSlash } from '../core/end-slash.ts';
import type { Complete } from '../core/records.ts';
import { ID_PATTERN, ID_SHAPE } from '../core/run/id.ts';
import { dashboardUrl } from '../core/run/links.ts';
import {
  addressesOf,
  readRunUrl,
  runsAt,
  runsByTemplate,
  withoutWrapping,
  type RunAddresses,
} from '../core/run/run-address.ts';
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
    const tried = sources ?? [
      ...new Set([...Object.keys(config.sources), ...(await stores.watches.sources())]),
    ];
    const roots = this.dashboards(host);
    const addresses = tried.map((name) => this.addressesOf(name, roots));
    // Its address names the source: read as a page of any other, that name would be the id of a run.
    const isOfDashboard = roots.some((root) => isPageOfRun(url, root));
    const runs = isOfDashboard ? runsByTemplate(url, addresses) : runsAt(url, addresses);
    const stored = await stores.watches.getMany(runs);
    const watched = runs.filter((_, at) => stored[at] !== null);
    const meant = watched.length > 0 ? watched : runs;
    const data = meant.map(({ runId, source }) => ({ kind: 'run' as const, id: runId, source }));
    return { data: data.slice(0, limit), more: data.length > limit, tried: [...tried] };
  }

  /** Where the dashboard is. @param host where the API was asked: the dashboard is there, too */
  private dashboards(host: string): string[] {
    const { public_url: publicUrl } = this.process.config.server;
    // The client wrote the host.
    const roots = [publicUrl, URL.canParse(`http://${host}`) ? `http://${host}` : undefined];
    return roots.filter((root) => root !== undefined);
  }

  /** Of a source that is configured no more, only the dashboard has pages. */
  private addressesOf(source: string, dashboards: readonly string[]): RunAddresses {
    const { config } = this.process;
    const pages = dashboards.map((root) => `${dashboardUrl(root, { source, runId: '' })}{run_id}`);
    const traits = this.process.traitsOf(source) ?? UNKNOWN;
    if (!Object.hasOwn(config.sources, source)) {
      return { source, templates: pages, places: [], traits };
    }
    const own = addressesOf(source, traits, config);
    return { ...own, templates: [...own.templates, ...pages] };
  }
}

/** What is known of the ids of a source that is configured no more. */
const UNKNOWN: RunAddresses['traits'] = {
  idProblem: (runId) => (ID_PATTERN.test(runId) ? null : `expected ${ID_SHAPE}`),
  canonicalId: (runId) => runId,
  idParts: [],
  idInUrl: () => null,
};

/** Whether a URL is that of a run in a dashboard: `runs/<source>/<id>` below its root. */
function isPageOfRun({ host, pathname }: URL, root: string): boolean {
  const dashboard = new URL(root);
  const runs = `${withoutEndSlash(dashboard.pathname)}/runs/`;
  return (
    host === dashboard.host &&
    pathname.startsWith(runs) &&
    /^[^/]+\/[^/]/.test(pathname.slice(runs.length))
  );
}

/** How an id may be spelled: most sources have UUIDs in lower case, whatever users type. */
function spellingsOf(prefix: string): [usual: string, typed?: string] {
  const isOfUuid = /^[0-9a-f]{8}(-[0-9a-f-]*)?$/i.test(prefix);
  const usual = isOfUuid ? prefix.toLowerCase() : prefix;
  return usual === prefix ? [usual] : [usual, prefix];
}
