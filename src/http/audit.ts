import { randomBytes } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { auditDetails, type AuditFilter, type AuditRecord, type AuditWay } from '../core/audit.ts';
import { isoTime } from '../core/event/event.ts';
import { withMoments } from '../core/time.ts';
import { watchId, type WatchKey } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import { sourcesMeant } from './auth.ts';
import { presentPage } from './present.ts';
import type { Requests, Slice } from './routing.ts';
import type { auditRecordSchema } from './schemas/audit.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['audit'];

/** What a request says of the user who made it. */
export type Acting = Pick<FastifyRequest, 'token' | 'session' | 'headers'>;

/** What the request does. Of its sources and details, none may be given. */
interface Act {
  action: AuditRecord['action'];
  target: string;
  sources?: readonly string[] | undefined;
  details?: Parameters<typeof auditDetails>[0];
}

/**
 * What the audit log has of a request.
 * @param now milliseconds since the epoch
 */
export function auditOf(
  request: Acting,
  now: number,
  { action, target, sources = [], details = {} }: Act,
): AuditRecord {
  return {
    id: `aud_${randomBytes(8).toString('hex')}`,
    at: Math.round(now),
    by: request.token?.name ?? null,
    via: wayOf(request),
    action,
    target,
    sources,
    details: auditDetails(details),
  };
}

/** {@link auditOf} of what is done with a run. */
export function auditOfRun(
  request: Acting,
  now: number,
  { watch, ...act }: Pick<Act, 'action' | 'details'> & { watch: WatchKey },
): AuditRecord {
  return auditOf(request, now, { ...act, target: watchId(watch), sources: [watch.source] });
}

/** Details of what a person says by `by`, `comment` and `until`; that end is in ms since the epoch. */
export function saidDetails({
  by,
  comment,
  until = null,
}: {
  by: string;
  comment?: string | null | undefined;
  until?: number | null | undefined;
}): NonNullable<Act['details']> {
  return { person: by, comment, until: until === null ? null : isoTime(until) };
}

/** Without tokens a page of the dashboard has no session: browsers say that a request is of its own site. */
function wayOf({ headers, session, token }: Acting): AuditWay {
  const isOfPage = token === null && headers['sec-fetch-site'] === 'same-origin';
  if (session !== null || isOfPage) return 'dashboard';
  const program = /^runwatch-(cli|mcp)\//.exec(headers['user-agent'] ?? '')?.[1];
  return program === 'cli' || program === 'mcp' ? program : 'api';
}

/** Shows what users did. */
export class AuditService implements Slice<Own> {
  constructor(private readonly process: Process) {}

  async list({ query, token }: Requests<Own>['list']) {
    const { now, stores } = this.process;
    const { limit, cursor, ...filter } = insideOf(query, token);
    const page = await stores.audit.list(withMoments<AuditFilter, typeof filter>(filter, now()), {
      limit,
      cursor,
    });
    return presentPage(page, presentAudit);
  }
}

/** A query in the words of the inside, all of it. */
function insideOf(
  { since, until, by, limit, cursor, ...rest }: Requests<Own>['list']['query'],
  token: TokenConfig | null,
) {
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token);
  return { since, until, by, sources, limit, cursor };
}

function presentAudit(record: AuditRecord): z.output<typeof auditRecordSchema> {
  const { id, at, by, via, action, target, details } = record;
  return { id, at: isoTime(at), by, via, action, target, details };
}
