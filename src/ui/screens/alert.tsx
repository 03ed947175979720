import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { Alert, AlertRun } from '../api/types.ts';
import { useKeys } from '../app/keys.ts';
import { href, isKiosk, runPath } from '../app/router.ts';
import { acknowledgeAlert, AcknowledgedBy } from '../parts/acknowledge.tsx';
import { Copy, Header, Loading, Section, Trouble } from '../parts/basics.tsx';
import { Fact, Facts } from '../parts/basics.tsx';
import { countText } from '../parts/format.ts';
import { ResolveDialog, ResolvedBy } from '../parts/resolve.tsx';
import { Status } from '../parts/status.tsx';
import { SuppressedNotices } from '../parts/suppressed.tsx';
import { Ago, Clock, Since } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { learnNames, workflowText } from '../parts/workflow-names.ts';
import { labelText, namedOf } from './alerts.tsx';
import { SilenceDialog } from './silences.tsx';

/** One alert: its subject, its runs, and its notifications. */
export function AlertDetail({ values }: { values: Record<string, string> }) {
  const id = values['id'] ?? '';
  const { value, error, reload } = useLoaded(id, (signal) => load(id, signal), {
    on: ({ type }) => type !== 'run.progress',
    everyMs: 5_000,
  });
  useKeys({
    ...(value !== null && may.write.value && { a: () => acknowledgeAlert(id, value.rule, reload) }),
  });
  if (value === null) {
    return error === null ? <Loading /> : <Trouble error={error} what="the alert" retry={reload} />;
  }
  const names = Object.entries(value.labels).filter(([name]) => name !== 'source');
  return (
    <>
      <Header
        title={
          <>
            {value.rule}
            {names.map(([name, label]) => (
              <span key={name} class="title-sub">
                {labelText(name, label)}
              </span>
            ))}
          </>
        }
      >
        {may.write.value && !isKiosk.value && <Actions alert={value} reload={reload} />}
        <Copy text={value.id} label="Copy id" />
      </Header>
      <Trouble error={error} what="the newest state" retry={reload} />
      <AlertFacts alert={value} />
      <Section title="Runs">
        {value.runs.length === 0 && (
          <p class="faint">No run: the rule fires on what did not come.</p>
        )}
        <RunRows runs={value.runs} source={value.labels['source']} />
        {value.count > value.runs.length && (
          <p class="faint">
            The last {value.runs.length} of {countText(value.count)}.{' '}
            <a href={href('/runs', { workflow: value.labels['workflow_id'], status: 'failed' })}>
              All failed runs
            </a>
          </p>
        )}
      </Section>
      <Section title="Notified">
        {value.notified.length === 0 && <p class="faint">Nothing was sent yet.</p>}
        <ul class="checks">
          {value.notified.map(({ endpoint, at, event_id: event }) => (
            <li key={`${endpoint} ${event}`}>
              <a href={href('/deliveries', { event })}>{endpoint}</a>
              <Clock at={at} />
              <span class="mono id faint">{event}</span>
            </li>
          ))}
        </ul>
      </Section>
    </>
  );
}

async function load(id: string, signal: AbortSignal): Promise<Alert> {
  const alert = await api.alert(id, signal);
  learnNames(alert.runs.map(namedOf));
  return alert;
}

function Actions({ alert, reload }: { alert: Alert; reload: () => void }) {
  const [open, setOpen] = useState<'silence' | 'resolve' | null>(null);
  const close = () => setOpen(null);
  const { rule, labels } = alert;
  const { workflow_id: workflow, source } = labels;
  const matchers = {
    rule: [rule],
    ...(workflow !== undefined && { workflow_id: [workflow] }),
    ...(source !== undefined && { source: [source] }),
  };
  return (
    <>
      {alert.state === 'firing' && (
        <button
          type="button"
          class="primary"
          onClick={() => acknowledgeAlert(alert.id, rule, reload)}
        >
          Acknowledge
        </button>
      )}
      {alert.acknowledged !== null && alert.state !== 'resolved' && (
        <button
          type="button"
          onClick={() =>
            void act('Taken back.', () => api.unacknowledgeAlert(alert.id)).then(reload)
          }
        >
          Take acknowledgement back
        </button>
      )}
      {alert.state !== 'resolved' && (
        <button type="button" onClick={() => setOpen('resolve')}>
          Resolve …
        </button>
      )}
      <button type="button" onClick={() => setOpen('silence')}>
        Silence …
      </button>
      {open === 'resolve' && <ResolveDialog alert={alert} onClose={close} onDone={reload} />}
      {open === 'silence' && <SilenceDialog matchers={matchers} onClose={close} />}
    </>
  );
}

function AlertFacts({ alert }: { alert: Alert }) {
  const { state, severity, owner, count, started_at: started, resolved_at: resolved } = alert;
  return (
    <>
      <Facts>
        <Fact name="State">
          <Status state={state} />
        </Fact>
        <Fact name="Severity" className={`severity severity-${severity}`}>
          {severity}
        </Fact>
        <Fact name="Runs" className="num">
          {countText(count)}
        </Fact>
        <Fact name="Owner">{owner ?? '–'}</Fact>
        <Fact
          name={
            resolved === null ? `${state === 'pending' ? 'Pending' : 'Firing'} for` : 'Resolved'
          }
        >
          {resolved === null ? <Since at={started} /> : <Ago at={resolved} />}
        </Fact>
      </Facts>
      <SuppressedNotices suppressors={alert.suppressed_by} />
      <AcknowledgedBy acknowledged={alert.acknowledged} />
      <ResolvedBy resolvedBy={alert.resolved_by} />
    </>
  );
}

function RunRows({ runs, source }: { runs: readonly AlertRun[]; source: string | undefined }) {
  if (runs.length === 0) return null;
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label="Runs">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col">Run</th>
            <th scope="col">Workflow</th>
            <th scope="col" class="right">
              At
            </th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={`${run.run_id} ${run.at}`}>
              <td>
                <Status state={run.status ?? 'unseen'} />
              </td>
              <td class="mono id">
                <a href={href(runPath({ run_id: run.run_id, source }))}>{run.run_id}</a>
              </td>
              <td>{run.name ?? workflowText(run.workflow_id)}</td>
              <td class="right">
                <Ago at={run.at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
