import { api } from '../api/calls.ts';
import { ApiError } from '../api/request.ts';
import { may } from '../api/session.ts';
import type { Batch } from '../api/types.ts';
import { address, go, href } from '../app/router.ts';
import { Copy, Empty, Fact, Facts, Header, Loading, Trouble } from '../parts/basics.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { countText, plural } from '../parts/format.ts';
import { useLoaded } from '../parts/hooks.ts';
import { Statuses } from '../parts/statuses.tsx';
import { Ago } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { BatchRuns } from './batch-runs.tsx';
import { activeRuns, BatchLength, BatchState, endedText, Failed } from './batches.tsx';

/** One batch: how its runs stand, and a cell for each. */
export function BatchDetail({ values }: { values: Record<string, string> }) {
  const name = values['name'] ?? '';
  const { value, error, reload } = useLoaded(name, (signal) => api.batch(name, signal), {
    on: ({ type }) => type !== 'run.progress',
    everyMs: 5_000,
  });
  if (error instanceof ApiError && error.status === 404) return <NoBatch name={name} />;
  if (value === null) {
    return error === null ? <Loading /> : <Trouble error={error} what="the batch" retry={reload} />;
  }
  return (
    <>
      <Header title={<span class="id-name">{value.name}</span>} about={`${endedText(value)} ended`}>
        {may.write.value && <Changes batch={value} reload={reload} />}
        <Copy text={value.id} label="Copy id" />
        <Copy text={`runwatch wait --batch ${value.id}`} label="Copy wait" />
      </Header>
      <Trouble error={error} what="the newest state" retry={reload} />
      <BatchFacts batch={value} />
      {value.total > 0 && <Statuses counts={value.by_status} />}
      <BatchRuns batch={value} />
    </>
  );
}

function NoBatch({ name }: { name: string }) {
  return (
    <Empty title={`There is no batch ${name}.`}>
      <p>
        It was deleted, or it completed so long ago that it is kept no more.{' '}
        <a href={href('/batches')}>All batches</a>
      </p>
    </Empty>
  );
}

function Changes({ batch, reload }: { batch: Batch; reload: () => void }) {
  const { id, name, state } = batch;
  const active = activeRuns(batch);
  const close = () =>
    confirmed({
      title: `Close the batch ${name}?`,
      text: (
        <p>
          No run joins it any more, which cannot be taken back.{' '}
          {active === 0
            ? 'No run of it is active: it completes at once.'
            : `It completes when ${plural(active, 'more run has', 'more runs have')} ended.`}
        </p>
      ),
      verb: 'Close',
      onYes: () => void act(`${name} is closed.`, () => api.closeBatch(id)).then(reload),
    });
  const forget = async () => {
    const { path } = address.peek();
    const isDone = await act(`${name} is deleted.`, () => api.forgetBatch(id));
    if (isDone && address.peek().path === path) go(href('/batches'));
  };
  const remove = () =>
    confirmed({
      title: `Delete the batch ${name}?`,
      text: (
        <p>
          {state === 'completed'
            ? 'Its runs and their events stay.'
            : 'Its runs are watched as before, but no event says any more that all of them have ended.'}{' '}
          This cannot be taken back.
        </p>
      ),
      verb: 'Delete',
      isDangerous: true,
      onYes: () => void forget(),
    });
  return (
    <>
      {state === 'open' && (
        <button type="button" onClick={close}>
          Close …
        </button>
      )}
      <button type="button" class="danger" onClick={remove}>
        Delete …
      </button>
    </>
  );
}

const CLOSED_BY = {
  closed: 'by a call',
  expected: 'as many as expected had joined',
  idle: 'no run was active for an hour',
} as const;

function BatchFacts({ batch }: { batch: Batch }) {
  const { closed_by: by, expected, max_failed: most, sources, completed_at: end } = batch;
  return (
    <Facts>
      <Fact name="State">
        <BatchState batch={batch} />
      </Fact>
      {by !== null && <Fact name="Closed">{CLOSED_BY[by]}</Fact>}
      <Fact name="Runs" className="num">
        {countText(batch.total)}
        {expected !== null && ` of ${countText(expected)} expected`}
      </Fact>
      <Fact name={most === null ? 'Failed' : `Failed (at most ${countText(most)})`}>
        <Failed batch={batch} />
      </Fact>
      <Fact name="Duration">
        <BatchLength batch={batch} />
      </Fact>
      <Fact name={end === null ? 'Began' : 'Completed'}>
        <Ago at={end ?? batch.created_at} />
      </Fact>
      {sources !== null && <Fact name="Sources">{sources.join(', ')}</Fact>}
      <Fact name="Notifies">{receiversText(batch)}</Fact>
    </Facts>
  );
}

function receiversText({ endpoints, webhook }: Batch): string {
  if (endpoints === null) return 'the receivers of its runs';
  return [...endpoints, ...(webhook === null ? [] : [webhook])].join(', ');
}
