import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import {
  endpointSeparator,
  MOST_NAMED,
  runSentence,
  type MissedEndpoint,
  type NotifiedEndpoint,
} from '../../client/run-sentence.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { api } from '../api/calls.ts';
import { alertPath, deliveryPath, href } from '../app/router.ts';
import { now, useLoaded } from '../parts/hooks.ts';
import { Glyph, toneOf } from '../parts/status.tsx';
import { stateOf } from './runs-columns.tsx';
import type { RunStory } from './run-timeline.tsx';

/** What happened to a run, where, and which endpoints have been notified of it. */
export function Headline({ story: { watch, timeline } }: { story: RunStory }) {
  const isWaiting = timeline.deliveries.some(({ state }) => isOutstanding(state));
  const { value } = useLoaded(
    isWaiting ? 'endpoints' : 'no endpoints',
    async (signal) => (isWaiting ? (await api.endpoints(signal)).data : []),
    isWaiting ? { everyMs: 5_000 } : {},
  );
  const facts = { watch, timeline, endpoints: value ?? [], now: now.value };
  const { what, place, rest, notes, notified, missed, unsent } = runSentence(facts);
  const tone = toneOf(stateOf(watch));
  return (
    <div class={`headline tone-${tone}`}>
      <p class="headline-what">
        <Glyph tone={tone} />
        {what}
        {place !== null && (
          <>
            {' at '}
            <strong>{place}</strong>
          </>
        )}
        {rest}.
      </p>
      <p class="headline-rest">
        <Named label="Notified" all={notified} />
        <Named label="Not notified" all={missed} whyOf={({ why }) => ` (${why})`} />
        {[...(unsent === null ? [] : [unsent]), ...notes].map((note) => `${note}. `)}
      </p>
    </div>
  );
}

/** Endpoints with links to their deliveries; the first of many, until a user wants all. */
function Named<One extends NotifiedEndpoint | MissedEndpoint>({
  label,
  all,
  whyOf = () => '',
}: {
  label: string;
  all: readonly One[];
  whyOf?: (one: One) => string;
}) {
  const [isOpen, setOpen] = useState(false);
  if (all.length === 0) return null;
  const shown = isOpen ? all : all.slice(0, MOST_NAMED);
  const more = all.length - shown.length;
  const links: ComponentChildren[] = shown.map((one, at) => (
    <span key={one.endpoint}>
      {at > 0 && endpointSeparator(all)}
      {one.deliveryId === null ? (
        one.endpoint
      ) : (
        <a href={href(deliveryPath(one.deliveryId))}>{one.endpoint}</a>
      )}
      {one.alert !== null && (
        <>
          {' by alert '}
          <a href={href(alertPath(one.alert.id))}>{one.alert.rule}</a>
        </>
      )}
      {whyOf(one)}
    </span>
  ));
  return (
    <span>
      {label}: {links}
      {more > 0 && (
        <>
          {' and '}
          <button type="button" class="quiet small" onClick={() => setOpen(true)}>
            {more} more
          </button>
        </>
      )}
      {'. '}
    </span>
  );
}
