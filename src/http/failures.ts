import type { z } from 'zod';
import type { Alert } from '../core/alert/alert.ts';
import type { AcknowledgeRequest } from '../core/watch/acknowledgement.ts';
import type { Daemon } from '../daemon.ts';
import { acknowledgementOf } from './alerts.ts';
import { auditOf, saidDetails, type Acting } from './audit.ts';
import { mayConcern } from './auth.ts';
import { presentAcknowledgement } from './present.ts';
import { refusal } from './problem.ts';
import type { Requests } from './routing.ts';
import type { acknowledgedFailures } from './schemas/attention.ts';
import type { Routes } from './schemas/routes.ts';

/** The runs whose failures are meant: those of a workflow, or those of a source that have none. */
interface FailedRuns {
  source: string;
  workflowId: string | null;
}

/** Acknowledges failures. Throws RunwatchError `source_not_found`, `nothing_failed`, and InvalidRequest. */
export async function acknowledgeFailures(
  daemon: Daemon,
  failed: FailedRuns,
  request: Acting & Pick<Requests<Routes['workflows']>['acknowledge'], 'body'>,
): Promise<z.output<typeof acknowledgedFailures>> {
  const asked = acknowledgementOf(request.body, daemon.now());
  const { acknowledged } = await act(daemon, failed, { request, asked });
  return {
    source: failed.source,
    workflow_id: failed.workflowId,
    acknowledged: presentAcknowledgement(acknowledged),
  };
}

/** Takes that back. Throws RunwatchError `source_not_found`, `nothing_failed`. */
export async function withdrawFailures(
  daemon: Daemon,
  failed: FailedRuns,
  request: Acting,
): Promise<void> {
  await act(daemon, failed, { request, asked: null });
}

async function act(
  { alerting, config, now }: Daemon,
  { source, workflowId }: FailedRuns,
  { request, asked }: { request: Acting; asked: AcknowledgeRequest | null },
): Promise<Alert> {
  const known = Object.keys(config.sources).filter((name) => mayConcern(request.token, name));
  if (!known.includes(source)) {
    const names = known.join(', ');
    throw refusal('source_not_found', `no source is named "${source}"; there are: ${names}`);
  }
  const audit = auditOf(request, now(), {
    action: asked === null ? 'failures.unacknowledge' : 'failures.acknowledge',
    target: workflowId === null ? source : `${source}/${workflowId}`,
    sources: [source],
    ...(asked !== null && { details: saidDetails(asked) }),
  });
  const alert = await alerting.engine.acknowledgeFailures({ source, workflowId }, asked, audit);
  if (alert !== null) return alert;
  const whose = workflowId === null ? 'without a workflow' : `of workflow ${workflowId}`;
  throw refusal(
    'nothing_failed',
    `no run ${whose} of source ${source} has failed since one completed`,
  );
}
