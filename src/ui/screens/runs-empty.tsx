import { api } from '../api/calls.ts';
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
  const { value: sources } = useLoaded('sources', (signal) => api.sources(signal));
  const hasSource = sources === null || sources.data.length > 0;
  if (!hasSource) {
    return (
      <Empty title="No source is configured.">
        <p>Start the daemon again with the API key of a workspace:</p>
        <Command text="NOXUS_API_KEY=… runwatch serve" />
        <p>
          or with a configuration that declares an API under <code>sources</code>:
        </p>
        <Command text="runwatch serve --config runwatch.yaml" />
      </Empty>
    );
  }
  return (
    <Empty title="No run is watched yet.">
      <p>Watch one by its id, from a shell:</p>
      <Command text="runwatch watch <run-id>" />
      <p>or from your program, right after it starts the run:</p>
      <Command
        text={`curl -X POST ${window.location.origin}${href('/v1/watches')} -H 'content-type: application/json' -d '{"run_id":"<run-id>"}'`}
      />
      <p>
        To watch every run of a source by itself, set <code>discover</code> for it in the
        configuration.
      </p>
    </Empty>
  );
}
