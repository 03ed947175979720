import type { WorkflowKey } from '../cadence/phase.ts';
import type { SaidNodes } from '../run/nodes.ts';

/** Gives what an event names the names of now. */
export interface Namer {
  /** @param said the name that the event has; null where it has none */
  workflow(workflow: WorkflowKey, said: string | null): string | null;
  nodes<Nodes extends SaidNodes>(workflow: WorkflowKey, said: Nodes): Nodes;
  /** The source of runs that name none; null where there are several. */
  readonly onlySource: string | null;
}

interface NamedRun {
  workflow_id?: string | null;
  name?: string | null;
}

/** What of an alert has names, as users see it. */
interface NamedAlert {
  labels: Readonly<Record<string, string>>;
  runs: readonly NamedRun[];
}

interface NamedDigest {
  alerts?: readonly { labels: Readonly<Record<string, string>>; name?: string | null }[];
}

/** What of the data of an event has names. Each kind of event has some of these. */
interface NamedData {
  run?: { workflow_id: string | null } | null;
  watch?: { source: string };
  nodes?: SaidNodes | null;
  /** Of system events about a workflow. */
  source?: string;
  workflow_id?: string;
  workflow_name?: string | null;
  alert?: NamedAlert;
  digest?: NamedDigest | null;
  /** Of events of a batch. */
  failed_runs?: readonly NamedFailure[];
}

/** A run that failed, as events of its batch name it. */
interface NamedFailure {
  source: string;
  workflow_id: string | null;
  workflow_name: string | null;
}

/** An event with the names of now: of workflows and nodes, in runs, alerts, digests and batches. */
export function withNames<Event extends { data: object }>(event: Event, namer: Namer): Event {
  const data = event.data as NamedData;
  const named = {
    ...namedRun(data, namer),
    ...namedAlerts(data, namer),
    ...namedFailures(data, namer),
  };
  return { ...event, data: { ...event.data, ...named } };
}

function namedRun(
  { run, watch, nodes, source, workflow_id: id, workflow_name: said }: NamedData,
  namer: Namer,
): NamedData {
  const workflow = workflowOf(watch?.source ?? source, run?.workflow_id ?? id);
  if (workflow === null || said === undefined) return {};
  return {
    workflow_name: namer.workflow(workflow, said),
    ...(nodes && { nodes: namer.nodes(workflow, nodes) }),
  };
}

function namedFailures({ failed_runs: failed }: NamedData, namer: Namer): NamedData {
  if (failed === undefined) return {};
  return {
    failed_runs: failed.map((run) => {
      const workflow = workflowOf(run.source, run.workflow_id);
      if (workflow === null) return run;
      return { ...run, workflow_name: namer.workflow(workflow, run.workflow_name) };
    }),
  };
}

function namedAlerts({ alert, digest }: NamedData, namer: Namer): NamedData {
  if (alert === undefined) return {};
  return {
    alert: withNamedRuns(alert, namer),
    ...(digest?.alerts && {
      digest: {
        ...digest,
        alerts: digest.alerts.map((one) => namedBy(one, one.labels, one.labels, namer)),
      },
    }),
  };
}

/** An alert as users see it, with the names of now of the workflows of its runs. */
export function withNamedRuns<Alert extends NamedAlert>(alert: Alert, namer: Namer): Alert {
  return { ...alert, runs: alert.runs.map((run) => namedBy(run, alert.labels, run, namer)) };
}

function namedBy<Named extends { name?: string | null }>(
  named: Named,
  labels: Readonly<Record<string, string>>,
  { workflow_id: id }: { workflow_id?: string | null },
  namer: Namer,
): Named {
  const workflow = workflowOf(labels['source'] ?? namer.onlySource, id);
  return workflow === null
    ? named
    : { ...named, name: namer.workflow(workflow, named.name ?? null) };
}

function workflowOf(
  source: string | null | undefined,
  id: string | null | undefined,
): WorkflowKey | null {
  return source && id ? { source, workflowId: id } : null;
}
