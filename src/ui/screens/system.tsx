import { api } from '../api/calls.ts';
import { session, may } from '../api/session.ts';
import type { Process, Source } from '../api/types.ts';
import { href } from '../app/router.ts';
import { ActButton } from '../parts/act-button.tsx';
import { Empty, Header, Loading, Section, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { countText, lengthText } from '../parts/format.ts';
import { Status } from '../parts/status.tsx';
import { Ago, Since } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { isNarrow, useLoaded } from '../parts/hooks.ts';

/** Whether runwatch itself is well. */
export function System() {
  return (
    <>
      <Header title="System" about={<>runwatch {session.value.version}</>}>
        {may.inspect.value && (
          <a class="button" href={href('/system/audit')}>
            Audit log
          </a>
        )}
        <a class="button" href={href('/docs')} target="_blank" rel="noopener">
          API documentation
        </a>
      </Header>
      <Checks />
      <Sources />
      <Processes />
      <Configuration />
    </>
  );
}

function Checks() {
  const { value, error, reload } = useLoaded('readiness', (signal) => api.readiness(signal), {
    everyMs: 5_000,
  });
  return (
    <Section title="Readiness" aside={value === null ? undefined : <Status state={value.status} />}>
      <Trouble error={error} what="the readiness" retry={reload} />
      {value === null && error === null && <Loading />}
      <ul class="checks">
        {value?.checks.map(({ name, status, detail }) => (
          <li key={name}>
            <strong>{name}</strong>
            <Status state={status} />
            <span class="faint">{detail}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Sources() {
  const { value, error, reload } = useLoaded('sources', (signal) => api.sources(signal), {
    everyMs: 3_000,
  });
  const sources = value?.data ?? [];
  return (
    <Section title="Sources">
      <Trouble error={error} what="sources" retry={reload} />
      {value !== null && sources.length === 0 && (
        <Empty title="No source is configured.">
          <p>
            Set <code>NOXUS_API_KEY</code> for Noxus, or declare an API under <code>sources</code>{' '}
            in the configuration, as <code>docs/sources.md</code> says, and start the daemon again.
          </p>
        </Empty>
      )}
      <div class="cards">
        {sources.map((source) => (
          <SourceCard key={source.name} source={source} reload={reload} />
        ))}
      </div>
    </Section>
  );
}

function SourceCard({ source, reload }: { source: Source; reload: () => void }) {
  const {
    name,
    state,
    since,
    message,
    paused_until: until,
    last_answer_at: last,
    rate_limit: limit,
    overdue,
  } = source;
  const isClosed = !['answering', 'inconsistent', 'unknown'].includes(state);
  const share = Math.min(1, limit.used / Math.max(1, limit.requests));
  return (
    <section class="card" aria-label={name}>
      <div class="card-head">
        <h3 class="cut" title={name}>
          {name}
        </h3>
        <Status state={state} />
        <span class="spring" />
        {isClosed && may.admin.value && (
          <ActButton
            class="small"
            onAct={() => act(`${name} is asked again.`, () => api.resumeSource(name)).then(reload)}
          >
            Resume
          </ActButton>
        )}
      </div>
      <p class="faint">
        {source.type === 'http' ? 'API' : 'Noxus'} at {source.host}
        {source.id_parts.length > 1 && <>, run ids {source.id_parts.join('/')}</>}.{' '}
        {abilities(source)}
      </p>
      {message !== null && (
        <p class="notice warn">
          {message}{' '}
          {since !== null && (
            <>
              Since <Since at={since} />.{' '}
            </>
          )}
          {until !== null && (
            <>
              Next request <Ago at={until} />.
            </>
          )}
          {isClosed && ' Watches continue; changes meanwhile are notified once it answers.'}
        </p>
      )}
      <div class="budget">
        <span class="budget-track" aria-hidden="true">
          <span
            class={share >= 1 ? 'tone-warn' : 'tone-live'}
            style={{ width: `${share * 100}%` }}
          />
        </span>
        <span class="num">
          {countText(limit.used)} of {countText(limit.requests)} requests a{' '}
          {limit.per === '1s' ? 'second' : limit.per}
        </span>
      </div>
      {overdue !== null && (
        <p class="notice warn">
          {overdue.message} The oldest is late by {lengthText(overdue.oldest_ms)}.
        </p>
      )}
      <p class="faint">
        Last answer <Ago at={last} empty="not yet" />
      </p>
    </section>
  );
}

/** What a source can do besides answering for one run, and what it means that it cannot. */
function abilities({ can }: Source): string {
  const able = [
    can.list && 'lists runs',
    can.stream && 'streams their events',
    can.wait && 'shows which runs wait for people',
  ].filter((one) => one !== false);
  const does = able.length === 0 ? '' : `It ${able.join(', ')}. `;
  const blind = 'It has no probe: a run is gone only once another one was read.';
  return can.probe ? does.trim() : `${does}${blind}`;
}

function Processes() {
  const { value, error, reload } = useLoaded('processes', (signal) => api.processes(signal), {
    everyMs: 5_000,
  });
  return (
    <Section title="Processes">
      <Trouble error={error} what="processes" retry={reload} />
      {isNarrow.value ? (
        <ProcessBriefs processes={value?.data ?? []} />
      ) : (
        <ProcessTable processes={value?.data ?? []} />
      )}
    </Section>
  );
}

function ProcessTable({ processes }: { processes: readonly Process[] }) {
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label="Processes">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Version</th>
            <th scope="col" class="right">
              Running for
            </th>
            <th scope="col" class="right">
              Last heartbeat
            </th>
            <th scope="col" class="right">
              Clock
            </th>
          </tr>
        </thead>
        <tbody>
          {processes.map((one) => (
            <tr key={one.id}>
              <td class="mono cell-cut" title={one.name}>
                {one.name}
              </td>
              <td class="num">{one.version}</td>
              <td class="right">
                <Since at={one.since} />
              </td>
              <td class="right">
                <Ago at={one.heartbeat} />
              </td>
              <td class="right num">{skewText(one.clock_skew_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Each process in two lines, on a narrow screen. */
function ProcessBriefs({ processes }: { processes: readonly Process[] }) {
  return (
    <ul class="briefs" aria-label="Processes">
      {processes.map((one) => (
        <li key={one.id}>
          <Brief name={one.name} title={one.name} aside={<Ago at={one.heartbeat} />}>
            <span class="num">{one.version}</span>
            <span>
              for <Since at={one.since} />
            </span>
            <span class="num">{skewText(one.clock_skew_ms)}</span>
          </Brief>
        </li>
      ))}
    </ul>
  );
}

function skewText(ms: number): string {
  if (Math.abs(ms) < 100) return 'in step';
  return ms > 0 ? `${lengthText(ms)} ahead` : `${lengthText(-ms)} behind`;
}

/** The configuration in force, without secrets. */
function Configuration() {
  if (!may.inspect.value) return null;
  return (
    <Section title="Configuration">
      <Shown />
    </Section>
  );
}

function Shown() {
  const { value, error } = useLoaded('configuration', (signal) => api.configuration(signal));
  return (
    <>
      <Trouble error={error} what="the configuration" />
      {value !== null && (
        <details class="fold">
          <summary>In force, without secrets</summary>
          <pre class="snippet" tabIndex={0}>
            {lines(value, 0).join('\n')}
          </pre>
        </details>
      )}
    </>
  );
}

/** As the file would say it. */
function lines(value: Record<string, unknown>, depth: number): string[] {
  const indent = '  '.repeat(depth);
  return Object.entries(value).flatMap(([name, inner]) => {
    const head = `${indent}${name}:`;
    if (isPlain(inner) && Object.keys(inner).length > 0)
      return [head].concat(lines(inner, depth + 1));
    if (Array.isArray(inner) && inner.some(isPlain)) {
      return [head].concat(inner.map((one) => `${indent}  - ${JSON.stringify(one)}`));
    }
    return [`${head} ${scalar(inner)}`];
  });
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function scalar(value: unknown): string {
  if (typeof value === 'string')
    return /^[\w./@-][^#]*$/.test(value) ? value : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(scalar).join(', ')}]`;
  return JSON.stringify(value);
}
