import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { nodesText } from '../../core/run/nodes.ts';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { AlertDetail as Alert } from '../api/types.ts';
import { useKeys } from '../app/keys.ts';
import { deliveryPath, href, runPath } from '../app/router.ts';
import { ActButton } from '../parts/act-button.tsx';
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

/** One alert: its subject, its rule, its runs, its notifications, and what has happened to it. */
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
  const { runs, count, labels, notified, rule_text: rule } = value;
  const names = Object.entries(labels).filter(([name]) => name !== 'source');
  const runbook = value.annotations['runbook_url'];
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
        {runbook !== undefined && isLink(runbook) && (
          <a class="button" href={runbook} target="_blank" rel="noopener noreferrer">
            Runbook
          </a>
        )}
        {may.write.value && <Actions alert={value} reload={reload} />}
        <Copy text={value.id} label="Copy id" />
      </Header>
      <Trouble error={error} what="the newest state" retry={reload} />
      <AlertFacts alert={value} />
      <About alert={value} />
      <Section title="Runs">
        {runs.length === 0 && <p class="faint">No run: the rule fires on what did not come.</p>}
        <RunRows runs={runs} source={labels['source']} />
        {count > runs.length && runs.length > 0 && (
          <p class="faint">
            The last {runs.length} of {countText(count)}.{' '}
            <a href={href('/runs', { workflow: labels['workflow_id'], status: 'failed' })}>
              All failed runs
            </a>
          </p>
        )}
      </Section>
      <Section title="Rule">
        {rule === null ? (
          <p class="faint">The rule {value.rule} is configured no more.</p>
        ) : (
          <Pairs
            pairs={[
              ['Watches', rule.watches],
              ['Fires', rule.fires],
              ['Notifies', rule.notifies],
              ['Ends', rule.ends],
            ]}
          />
        )}
      </Section>
      <Section title="Notified">
        {notified.length === 0 && <p class="faint">Nothing was sent yet.</p>}
        <ul class="moments">
          {notified.map((one) => (
            <li key={`${one.endpoint} ${one.event_id}`}>
              <Clock at={one.at} />
              <Sent sent={one} />
            </li>
          ))}
        </ul>
      </Section>
      <Section title="History">
        <History history={value.history} />
      </Section>
    </>
  );
}

/** The newest last: as it happened. */
function History({ history }: Pick<Alert, 'history'>) {
  return (
    <ol class="moments">
      {history.map((one) => (
        <li key={`${one.kind} ${one.first_at}`}>
          <Clock at={one.at} />
          <div>
            <p>
              {one.text}
              {one.until !== null && (
                <>
                  {' '}
                  until <Clock at={one.until} />
                </>
              )}
              {one.comment !== null && `: ${one.comment}`}
              {one.times > 1 && (
                <span class="faint">
                  {' '}
                  since <Clock at={one.first_at} />
                </span>
              )}
            </p>
            {one.deliveries.length > 0 && (
              <ul class="moment-sent">
                {one.deliveries.map((sent) => (
                  <li key={sent.endpoint}>
                    <Sent sent={sent} />
                  </li>
                ))}
              </ul>
            )}
          </div>
        </li>
      ))}
    </ol>
  );
}

/** A notification to an endpoint, with what became of it. */
function Sent({ sent }: { sent: Alert['history'][number]['deliveries'][number] }) {
  const { endpoint, delivery_id: id, delivery_state: state, delivery_text: text } = sent;
  return (
    <span class="sent">
      {id === null ? <span>{endpoint}</span> : <a href={href(deliveryPath(id))}>{endpoint}</a>}
      <Status state={state ?? 'unknown'} text={text} />
    </span>
  );
}

const LABELS: Readonly<Record<string, string>> = {
  source: 'Source',
  workflow_id: 'Workflow',
  run_id: 'Run',
  event: 'Event',
};

/** What its rule says of it, and what its events have in common. */
function About({ alert: { annotations, labels } }: { alert: Alert }) {
  const notes = Object.entries(annotations).map(([name, text]): Pair => [
    name.replaceAll('_', ' '),
    isLink(text) ? (
      <a href={text} target="_blank" rel="noopener noreferrer">
        {text}
      </a>
    ) : (
      text
    ),
  ]);
  const common = Object.entries(labels).map(([name, value]): Pair => {
    const shown = labelText(name, value);
    const id = shown === value ? null : <span class="mono id faint"> {value}</span>;
    const key = LABELS[name] ?? name.replace(/^metadata\./, '');
    return [
      key,
      <>
        {shown === '' ? 'none' : shown}
        {id}
      </>,
    ];
  });
  return (
    <Section title="About">
      <Pairs pairs={[...notes, ...common]} />
      {notes.length + common.length === 0 && (
        <p class="faint">One alert for all events of its rule.</p>
      )}
    </Section>
  );
}

type Pair = readonly [name: string, text: ComponentChildren];

function Pairs({ pairs }: { pairs: readonly Pair[] }) {
  return (
    <dl class="pairs">
      {pairs.map(([name, text]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{text}</dd>
        </div>
      ))}
    </dl>
  );
}

function isLink(text: string): boolean {
  return /^https?:\/\/\S+$/.test(text);
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
        <ActButton
          onAct={() => act('Taken back.', () => api.unacknowledgeAlert(alert.id)).then(reload)}
        >
          Take acknowledgement back
        </ActButton>
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

function RunRows({ runs, source }: { runs: Alert['runs']; source: string | undefined }) {
  if (runs.length === 0) return null;
  return (
    <ul class="alert-runs">
      {runs.map((run) => {
        const name = run.name ?? workflowText(run.workflow_id);
        const where = run.nodes === null ? null : nodesText(run.nodes, (node) => node);
        return (
          <li key={`${run.run_id} ${run.at}`}>
            <Status state={run.status ?? 'unseen'} />
            <div>
              <a class="cut" href={href(runPath({ run_id: run.run_id, source }))} title={name}>
                {name}
              </a>
              <span class="mono id faint">{run.run_id}</span>
              {where !== null && <p>{where}</p>}
            </div>
            <Ago at={run.at} />
          </li>
        );
      })}
    </ul>
  );
}
