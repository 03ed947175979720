import type { z } from 'zod';
import type { Alerting } from '../alert/alerting.ts';
import type { TokenConfig } from '../config/schema.ts';
import { silenceState, type Matchers, type Silence } from '../core/alert/silence.ts';
import { isoTime } from '../core/event/event.ts';
import { endOf } from '../core/time.ts';
import { shownAlerts } from './alerts.ts';
import { auditOf, saidDetails, type Acting } from './audit.ts';
import { mayConcern, mayRead, sourcesMeant, sourcesOf } from './auth.ts';
import { invalid, refusal } from './problem.ts';
import type { Requests, Slice, Status } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import type { silenceRequest, silenceSchema } from './schemas/silence.ts';

type Own = Routes['silences'];
type Asked = Requests<Own>;
type SilenceView = z.output<typeof silenceSchema>;

/** How far ahead a silence may end, ms. */
const LONGEST_MS = 365 * 86_400_000;

/** Shows, adds and ends silences. */
export class SilenceService implements Slice<Own> {
  constructor(private readonly alerting: Alerting) {}

  async add(request: Acting & Asked['add'], reply: Status) {
    const { body, token } = request;
    const { process, silences } = this.alerting;
    const now = process.now();
    const { matchers, until, starts_at: startsAt = now, key = null, ...by } = body;
    const end = endOf(until, now);
    if (end <= Math.max(now, startsAt)) {
      throw invalid('until', 'expected a time that is still to come, after starts_at');
    }
    if (end - now > LONGEST_MS) throw invalid('until', 'expected a time within 365 days');
    const meant = withinSources(token, matchersOf(matchers));
    const wanted = {
      ...by,
      matchers: meant,
      startsAt,
      until: end,
      key,
      ...(token !== null && { token: token.name }),
      sources: sourcesOf(token),
    };
    const added = await silences.add(wanted, (id) =>
      auditOf(request, now, {
        action: 'silence.add',
        target: id,
        sources: meant.source,
        details: { ...saidDetails({ ...by, until: end }), matchers: JSON.stringify(matchers) },
      }),
    );
    if (added === 'full') {
      const detail = 'there are 1,000 silences that have not expired; end some';
      throw refusal('too_many_silences', detail);
    }
    if (added === 'share') {
      const detail = `the token "${token?.name}" has 250 silences that have not expired, the most that one may have; end some`;
      throw refusal('too_many_silences', detail);
    }
    reply.code(added.isNew ? 201 : 200);
    const view = presentSilence(added.silence, now);
    return mayRead(token) ? view : { id: view.id, state: view.state };
  }

  async list({ token }: Asked['list']) {
    const found = await this.ofToken(token);
    return { data: found.map((one) => presentSilence(one, this.alerting.process.now())) };
  }

  async expire(request: Acting & Asked['expire']) {
    const { process, silences } = this.alerting;
    const { id } = request.params;
    const silence = (await this.ofToken(request.token)).find((one) => one.id === id);
    const act = {
      action: 'silence.expire',
      target: id,
      sources: silence?.matchers.source,
    } as const;
    const audit = auditOf(request, process.now(), act);
    if (silence !== undefined && (await silences.expire(id, audit))) return;
    throw refusal('silence_not_found', `there is no silence ${id}`);
  }

  async preview({ body, token }: Asked['preview']) {
    const matchers = withinSources(token, matchersOf(body.matchers));
    const found = await this.alerting.silences.preview(matchers);
    const { count: events, byRule, byType } = found.events;
    return {
      now: { alerts: await shownAlerts(this.alerting, found.alerts, token) },
      last_24h: { events, by_rule: byRule, by_type: byType },
    };
  }

  private async ofToken(token: TokenConfig | null): Promise<Silence[]> {
    return (await this.alerting.silences.list()).filter((one) => isOf(token, one));
  }
}

/** A silence of a token that is limited to sources matches nothing of others. */
function withinSources(token: TokenConfig | null, matchers: Matchers): Matchers {
  const allowed = sourcesOf(token);
  if (allowed === undefined) return matchers;
  for (const source of matchers.source ?? []) sourcesMeant(token, source);
  return { ...matchers, source: matchers.source ?? [...allowed] };
}

function isOf(token: TokenConfig | null, { matchers }: Silence): boolean {
  if (sourcesOf(token) === undefined) return true;
  return matchers.source?.every((source) => mayConcern(token, source)) ?? false;
}

function matchersOf(given: z.output<typeof silenceRequest>['matchers']): Matchers {
  const { workflow_id: workflowId, ...others } = given;
  return { ...others, ...(workflowId !== undefined && { workflowId }) };
}

function presentSilence(silence: Silence, now: number): SilenceView {
  const { workflowId, rule, source, event, metadata } = silence.matchers;
  return {
    id: silence.id,
    matchers: {
      ...(rule !== undefined && { rule: [...rule] }),
      ...(workflowId !== undefined && { workflow_id: [...workflowId] }),
      ...(source !== undefined && { source: [...source] }),
      ...(event !== undefined && { event: [...event] }),
      ...(metadata !== undefined && { metadata: listsOf(metadata) }),
    },
    starts_at: isoTime(silence.startsAt),
    until: isoTime(silence.until),
    state: silenceState(silence, now),
    by: silence.by,
    comment: silence.comment,
    key: silence.key,
    created_at: isoTime(silence.createdAt),
  };
}

function listsOf(metadata: NonNullable<Matchers['metadata']>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(metadata).map(([key, values]) => [key, [...values]]));
}
