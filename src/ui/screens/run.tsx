import { api, type RunRef } from '../api/calls.ts';
import { ApiError, messageOf } from '../api/request.ts';
import { may } from '../api/session.ts';
import { nodesText } from '../../core/run/nodes.ts';
import { RUN_FIELD_NAMES, workBeganAt, type RunFieldName } from '../../core/run/snapshot.ts';
import type { Source, TimelineEvent, Watch } from '../api/types.ts';
import { useKeys } from '../app/keys.ts';
import { href } from '../app/router.ts';
import { ActButton } from '../parts/act-button.tsx';
import { acknowledgeRun } from '../parts/acknowledge.tsx';
import { Command, Copy, Empty, Header, Loading, Progress, Trouble } from '../parts/basics.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { Fact, Facts } from '../parts/basics.tsx';
import { shellWord } from '../parts/format.ts';
import { Status, toneOf } from '../parts/status.tsx';
import { Ago, Clock } from '../parts/time.tsx';
import { act, say } from '../parts/toast.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { learnNames, workflowText } from '../parts/workflow-names.ts';
import { RunLength, stateOf } from './runs-columns.tsx';
import { Headline } from './run-headline.tsx';
import { StopRun } from './run-stop.tsx';
import { RunTimeline, type RunStory } from './run-timeline.tsx';
import { namedOf } from './runs.tsx';

/** One run: why endpoints were notified, when, and how late. */
export function Run({ values }: { values: Record<string, string> }) {
  const { id = '', source } = values;
  const run = { run_id: id, source };
  const loaded = useLoaded(`${source} ${id}`, (signal) => load(run, signal), {
    on: ({ data }) => data.run_id === id && data.watch.source === (source ?? data.watch.source),
    everyMs: 5_000,
  });
  const { value, error, reload } = loaded;
  const sources = useLoaded('sources', (signal) => api.sources(signal), { everyMs: 60_000 });
  useKeys({
    ...(value !== null && may.write.value && { a: () => acknowledgeRun(value.watch, reload) }),
  });
  if (value === null) {
    return error === null ? <Loading /> : <NotShown id={id} error={error} retry={reload} />;
  }
  // They say which buttons there are: one that came later would move the others.
  if (sources.value === null && sources.error === null) return <Loading />;
  const { watch } = value;
  const workflowId = watch.run?.workflow_id ?? null;
  const workflow = watch.workflow_name ?? (workflowId === null ? null : workflowText(workflowId));
  return (
    <>
      <Header
        title={
          <>
            {workflow !== null && <span class="title-sub">{workflow}</span>}
            <span class="mono id">{watch.run_id}</span>
          </>
        }
      >
        <Actions watch={watch} sources={sources.value?.data ?? []} reload={reload} />
      </Header>
      <Trouble error={error} what="the newest state" retry={reload} />
      <Headline story={value} />
      <RunFacts watch={watch} events={value.timeline.events} />
      <RunTimeline story={value} reload={reload} />
      <Metadata watch={watch} />
    </>
  );
}

async function load(run: RunRef, signal: AbortSignal): Promise<RunStory> {
  const [watch, timeline] = await Promise.all([api.watch(run, signal), api.timeline(run, signal)]);
  learnNames([namedOf(watch)]);
  return { watch, timeline };
}

function NotShown({ id, error, retry }: { id: string; error: unknown; retry: () => void }) {
  return error instanceof ApiError && error.status === 404 ? (
    <NotWatched id={id} />
  ) : (
    <Trouble error={error} what="the run" retry={retry} />
  );
}

function NotWatched({ id }: { id: string }) {
  return (
    <Empty title={`The run ${id} is not watched.`}>
      <p>Watch it from a shell:</p>
      <Command text={`runwatch watch ${shellWord(id)}`} />
      <p>
        Records are forgotten after the retention of the configuration.{' '}
        <a href={href('/runs')}>All runs</a>
      </p>
    </Empty>
  );
}

interface ChangeProps {
  watch: Watch;
  reload: () => void;
}

/** What ends with the run stands first, so that the others keep their places. */
function Actions({ watch, sources, reload }: ChangeProps & { sources: readonly Source[] }) {
  const source = sources.find(({ name }) => name === watch.source);
  const link = `${window.location.origin}${window.location.pathname}`;
  const mayWrite = may.write.value;
  return (
    <>
      {watch.run_url !== null && (
        <a class="button" href={watch.run_url} target="_blank" rel="noopener noreferrer">
          {source === undefined ? 'Open run' : `Open in ${source.label}`}
        </a>
      )}
      {mayWrite && watch.state === 'active' && <WhileActive watch={watch} reload={reload} />}
      {source?.can_stop === true && may.admin.value && <StopRun watch={watch} reload={reload} />}
      {mayWrite && <Acknowledging watch={watch} reload={reload} />}
      <Copy text={link} label="Copy link" />
      <Copy text={watch.run_id} label="Copy id" />
      <Copy text={`runwatch wait ${shellWord(watch.run_id)}`} label="Copy wait" />
    </>
  );
}

function WhileActive({ watch, reload }: ChangeProps) {
  const unwatch = () =>
    confirmed({
      title: 'Stop watching this run?',
      text: <p>No further events of it are sent. What was recorded stays.</p>,
      verb: 'Unwatch',
      isDangerous: true,
      onYes: () => void act('Not watched any more.', () => api.unwatch(watch)).then(reload),
    });
  return (
    <>
      <ActButton onAct={() => pollNow(watch, reload)}>Poll now</ActButton>
      <button type="button" class="danger" onClick={unwatch}>
        Unwatch
      </button>
    </>
  );
}

function Acknowledging({ watch, reload }: ChangeProps) {
  if (watch.acknowledged === null) {
    return (
      <button type="button" onClick={() => acknowledgeRun(watch, reload)}>
        Acknowledge
      </button>
    );
  }
  return (
    <ActButton onAct={() => act('Taken back.', () => api.unacknowledgeRun(watch)).then(reload)}>
      Take acknowledgement back
    </ActButton>
  );
}

async function pollNow(watch: Watch, reload: () => void): Promise<void> {
  try {
    const { message } = await api.poll(watch);
    say(message ?? 'Polled.');
  } catch (error) {
    say(messageOf(error), { isError: true });
  }
  reload();
}

/** Where the run stood at the latest event that says so. */
function whereItStood(events: readonly TimelineEvent[]): string | null {
  const nodes = events.findLast(({ data }) => data.nodes)?.data.nodes;
  return nodes ? nodesText(nodes, (name) => name) : null;
}

function RunFacts({ watch, events }: { watch: Watch; events: readonly TimelineEvent[] }) {
  const { run } = watch;
  const where = whereItStood(events);
  const progress = run?.progress ?? null;
  return (
    <Facts>
      <Fact name="Status">
        <Status state={stateOf(watch)} />
      </Fact>
      {progress !== null && (
        <Fact name="Progress">
          <Progress value={progress} tone={toneOf(stateOf(watch))} />
        </Fact>
      )}
      <OptionalFact name="Nodes" text={where} />
      {run !== null && workBeganAt(run) !== null && (
        <Fact name="Duration">
          <RunLength watch={watch} />
        </Fact>
      )}
      <Fact name={run?.finished_at == null ? 'Changed' : 'Finished'}>
        <Ago at={run?.finished_at ?? watch.changed_at} />
      </Fact>
      <Fact name="Polls">
        <span class="num">{watch.polls}</span>
      </Fact>
      <Fact name={watch.state === 'active' ? 'Next poll' : 'Last poll'}>
        <Ago
          at={watch.state === 'active' ? watch.next_poll_at : watch.last_polled_at}
          empty="now"
        />
      </Fact>
      <Fact name="Source">{watch.source}</Fact>
    </Facts>
  );
}

function OptionalFact({ name, text }: { name: string; text: string | null }) {
  return text === null ? null : <Fact name={name}>{text}</Fact>;
}

/** The fields of a run that its head, its facts and its timeline show. */
const FACTS: ReadonlySet<RunFieldName> = new Set([
  'id',
  'status',
  'progress',
  'created_at',
  'started_at',
  'finished_at',
  'observed_at',
]);

const OTHER_FIELDS = RUN_FIELD_NAMES.filter((name) => !FACTS.has(name));

function Metadata({ watch }: { watch: Watch }) {
  const pairs = Object.entries(watch.metadata);
  const { run, subscriptions, batches = [] } = watch;
  return (
    <div class="columns">
      <section class="section" aria-label="Metadata">
        <div class="section-head">
          <h2>Metadata</h2>
        </div>
        {pairs.length === 0 && <p class="faint">None was given with the registration.</p>}
        <dl class="pairs">
          {pairs.map(([name, text]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <a href={href('/runs', { q: `${name}=${text}` })}>{text}</a>
              </dd>
            </div>
          ))}
        </dl>
      </section>
      <section class="section" aria-label="Of the run">
        <div class="section-head">
          <h2>Of the run</h2>
        </div>
        <dl class="pairs">
          {run?.source_status === undefined ? null : (
            <div>
              <dt>source_status</dt>
              <dd class="mono id">{run.source_status}</dd>
            </div>
          )}
          {run?.attempt === undefined ? null : (
            <div>
              <dt>attempt</dt>
              <dd class="mono id">{run.attempt}</dd>
            </div>
          )}
          {OTHER_FIELDS.map((name) =>
            run?.[name] == null ? null : (
              <div key={name}>
                <dt>{name}</dt>
                <dd class="mono id">{run[name]}</dd>
              </div>
            ),
          )}
          <div>
            <dt>registered</dt>
            <dd>
              <Clock at={watch.registered_at} />
            </dd>
          </div>
          <div>
            <dt>watched until</dt>
            <dd>
              <Clock at={watch.timeout_at} />
            </dd>
          </div>
          <div>
            <dt>notifies</dt>
            <dd>
              {subscriptions.length === 0
                ? 'no endpoint'
                : subscriptions
                    .map((one) => ('endpoint' in one ? one.endpoint : one.url))
                    .join(', ')}
            </dd>
          </div>
          {batches.length === 0 ? null : (
            <div>
              <dt>batches</dt>
              <dd>{batches.join(', ')}</dd>
            </div>
          )}
        </dl>
      </section>
    </div>
  );
}
