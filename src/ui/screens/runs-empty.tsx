import { Fragment } from 'preact';
import { api } from '../api/calls.ts';
import { session } from '../api/session.ts';
import type { Source } from '../api/types.ts';
import { address, href } from '../app/router.ts';
import { Command, Empty } from '../parts/basics.tsx';
import { plural, statusText } from '../parts/format.ts';
import { isNarrowed } from '../parts/filters.ts';
import { useLoaded } from '../parts/hooks.ts';
import { RUN_FILTERS } from './runs-query.ts';

/** Why the list has no rows: no run was ever watched, or none is as asked. */
export function NoRuns() {
  const { query } = address.value;
  const since = query.get('since');
  const { value: all } = useLoaded(`all ${since}`, (signal) =>
    api.watches({ limit: 1, since }, signal),
  );
  if (all === null) return null;
  if (all.data.length === 0 && since === null) return <FirstRun />;
  const count = all.total ?? null;
  const more = all.total_capped === true ? 'more than ' : '';
  const among = count === null ? 'No run' : `None of ${more}${plural(count, 'run')}`;
  const wanted = query.get('status') ?? query.get('state');
  const others = isNarrowed(RUN_FILTERS, query, ['status', 'state', 'since']);
  const what =
    wanted === null || others
      ? 'is as you asked'
      : `is ${wanted.split(',').map(statusText).join(' or ')}`;
  return (
    <Empty title={`${among}${since === null ? '' : ` of the last ${since}`} ${what}.`}>
      <a href={href('/runs')}>Show all runs</a>
    </Empty>
  );
}

/** What to do where nothing is watched yet. */
export function FirstRun() {
  const { value, error } = useLoaded('sources', (signal) => api.sources(signal));
  if (value !== null) {
    return value.data.length === 0 ? <FirstSource /> : <FirstWatch sources={value.data} />;
  }
  return error === null ? null : <Empty title="No run is watched yet." />;
}

function FirstSource() {
  return (
    <Empty title="No source is configured.">
      <p>For runs of Noxus, set the API key of a workspace and start the daemon again:</p>
      <Command text="NOXUS_API_KEY=… runwatch serve" />
      <p>
        For runs of any other API that have an id and a status, take an example of{' '}
        <code>config/examples/sources</code>, or declare the API as <code>docs/sources.md</code>{' '}
        says:
      </p>
      <Command text="runwatch serve --config config/examples/sources/github-actions.yaml" />
    </Empty>
  );
}

/** Most sources that are shown with a command of their own. */
const MOST_SOURCES = 6;

function FirstWatch({ sources }: { sources: readonly Source[] }) {
  const isOnly = sources.length === 1;
  const [first] = sources;
  const body = { run_id: first && formOf(first), ...(!isOnly && { source: first?.name }) };
  const more = sources.length - MOST_SOURCES;
  const declared = sources.find(({ type }) => type === 'http');
  const listed = sources
    .filter(({ can, discovery }) => can.list && discovery === null)
    .map(({ name }) => name);
  const discovered = sources.flatMap(({ name, discovery }) =>
    (discovery ?? []).map((list) => ({ name, list })),
  );
  return (
    <Empty title="No run is watched yet.">
      <p>Watch one by its id, from a shell:</p>
      {sources.slice(0, MOST_SOURCES).map((source) => (
        <Fragment key={source.name}>
          {!isOnly && (
            <p>
              <strong>{source.name}</strong> {placeOf(source)}
            </p>
          )}
          <Command text={`runwatch watch ${argumentsOf(source, isOnly)}`} />
        </Fragment>
      ))}
      {more > 0 && (
        <p>
          and of <a href={href('/system')}>{plural(more, 'further source')}</a> likewise;
        </p>
      )}
      <p>or from your program, right after it starts the run:</p>
      <Command
        text={`curl -X POST ${window.location.origin}${href('/v1/watches')}${authorization()} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`}
      />
      {declared !== undefined && (
        <>
          <p>What one read of a run comes to, and why, is shown beforehand by</p>
          <Command text={`runwatch try ${argumentsOf(declared, isOnly)}`} />
        </>
      )}
      {discovered.map(({ name, list: { workflow_id: workflow, message } }) => (
        <p key={`${name} ${workflow}`}>
          {isOnly ? 'The source' : name}
          {workflow === null ? '' : `, workflow ${workflow}`}: {message}.
        </p>
      ))}
      {listed.length > 0 && (
        <p>
          To watch every run {isOnly ? 'of the source' : `of ${listed.join(', ')}`} by itself, set{' '}
          <code>discover</code> for it in the configuration.
        </p>
      )}
    </Empty>
  );
}

/** The header of a token, where the daemon wants one. */
function authorization(): string {
  const isWanted = session.value.state === 'signed_in';
  return isWanted ? ' -H "authorization: Bearer $RUNWATCH_API_TOKEN"' : '';
}

/** What an id looks like: `<owner>/<repo>/<run>`. */
function formOf({ id_parts: parts }: Source): string {
  const [first, ...others] = parts;
  return first === undefined || others.length === 0
    ? '<run-id>'
    : parts.map((part) => `<${part}>`).join('/');
}

/** In quotes, since a shell would take the brackets of a form that is left as it is for files. */
function argumentsOf(source: Source, isOnly: boolean): string {
  return `'${formOf(source)}'${isOnly ? '' : ` --source ${source.name}`}`;
}

function placeOf({ type, host }: Source): string {
  return type === 'http' ? `at ${host}` : `of Noxus at ${host}`;
}
