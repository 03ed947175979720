import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { may, session } from '../api/session.ts';
import type { Matchers, Silence, SilencePreview } from '../api/types.ts';
import { isKiosk } from '../app/router.ts';
import { momentAhead } from '../parts/acknowledge.tsx';
import { Dialog, Trouble } from '../parts/basics.tsx';
import { countText, plural } from '../parts/format.ts';
import { setSetting, settings } from '../parts/settings.ts';
import { Status } from '../parts/status.tsx';
import { Ago } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { now, refreshed, useLoaded } from '../parts/use.ts';
import { workflowNames, workflowText } from '../parts/workflows.ts';

/** Silences that are shown before a user asks for all. */
const FIRST = 8;

/** What is silenced now, and was. */
export function Silences() {
  const { value, error, reload } = useLoaded(
    `silences ${refreshed.value}`,
    (signal) => api.silences(signal),
    {
      everyMs: 10_000,
    },
  );
  const silences = value?.data ?? [];
  const [isAll, setAll] = useState(false);
  const shown = isAll ? silences : silences.slice(0, FIRST);
  return (
    <>
      <Trouble error={error} what="silences" retry={reload} />
      {value !== null && silences.length === 0 && (
        <p class="faint">
          None. A silence holds notifications back for a time; alerts are still recorded.
        </p>
      )}
      <ul class="silences">
        {shown.map((silence) => (
          <SilenceRow key={silence.id} silence={silence} reload={reload} />
        ))}
      </ul>
      {silences.length > shown.length && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {countText(silences.length)}
        </button>
      )}
    </>
  );
}

function stateOf(
  { starts_at: starts, until }: Silence,
  at: number,
): 'active' | 'pending' | 'expired' {
  if (Date.parse(until) <= at) return 'expired';
  return Date.parse(starts) > at ? 'pending' : 'active';
}

function SilenceRow({ silence, reload }: { silence: Silence; reload: () => void }) {
  const { id, matchers, until, by, comment } = silence;
  const state = stateOf(silence, now.value);
  const isOver = state === 'expired';
  return (
    <li class={isOver ? 'past' : ''}>
      <Status state={isOver ? 'skipped' : 'paused'} text={state} />
      <span>
        {pairsOf(matchers).map(([name, text]) => (
          <span key={name} class="tag">
            {name}: {text}
          </span>
        ))}
      </span>
      <span class="faint silence-why" title={`${comment} (${by})`}>
        {comment} ({by})
      </span>
      <span class="num">
        {isOver ? 'ended ' : 'ends '}
        <Ago at={until} />
      </span>
      {!isOver && may.write.value && !isKiosk.value && (
        <button
          type="button"
          class="small"
          onClick={() => void act('The silence has ended.', () => api.endSilence(id)).then(reload)}
        >
          End
        </button>
      )}
    </li>
  );
}

function pairsOf({ metadata = {}, ...others }: Matchers): [string, string][] {
  const pairs = [...Object.entries(others), ...Object.entries(metadata)];
  return pairs.map(([name, values]) => [
    name === 'workflow_id' ? 'workflow' : name,
    [values ?? []]
      .flat()
      .map((text) => (name === 'workflow_id' ? workflowText(text) : text))
      .join(' or '),
  ]);
}

/** The value that a field shows, where there is one. */
function textOf(values: Matchers['rule'] = ''): string {
  return [values].flat()[0] ?? '';
}

const LENGTHS = [
  ['1h', '1 hour'],
  ['8h', '8 hours'],
  ['1d', '1 day'],
] as const;

/** Asks what is to be silent, and shows what that would keep back. */
export function SilenceDialog({
  matchers: first,
  onClose,
}: {
  matchers: Matchers;
  onClose: () => void;
}) {
  const [matchers, setMatchers] = useState<Matchers>(first);
  const [by, setBy] = useState(settings.peek().name || session.peek().token || '');
  const [comment, setComment] = useState('');
  const [length, setLength] = useState('1h');
  const set = (change: Matchers) =>
    setMatchers(
      Object.fromEntries(
        Object.entries({ ...matchers, ...change }).filter(([, text]) => text !== ''),
      ),
    );
  const isEmpty = pairsOf(matchers).length === 0;
  const submit = async () => {
    setSetting({ name: by });
    const until = momentAhead(length) ?? '';
    const body = { matchers, until, by: by.trim(), comment: comment.trim() };
    if (await act('Silenced.', () => api.silence(body))) refreshed.value += 1;
    onClose();
  };
  return (
    <Dialog title="Silence" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2>Silence</h2>
        <p class="faint">Matching notifications are held back; alerts are still recorded.</p>
        <Text label="Rule" value={textOf(matchers.rule)} onInput={(rule) => set({ rule })} />
        <label>
          Workflow
          <select
            value={textOf(matchers.workflow_id)}
            onChange={({ currentTarget }) => set({ workflow_id: currentTarget.value })}
          >
            <option value="">Any</option>
            {[...workflowNames.value.keys()].map((id) => (
              <option key={id} value={id}>
                {workflowText(id)}
              </option>
            ))}
          </select>
        </label>
        <Text
          label="Event"
          value={textOf(matchers.event)}
          placeholder="run.failed"
          onInput={(event) => set({ event })}
        />
        <Preview matchers={matchers} />
        <label>
          For
          <select value={length} onChange={({ currentTarget }) => setLength(currentTarget.value)}>
            {LENGTHS.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <Text label="Your name" value={by} required onInput={setBy} />
        <Text label="Why" value={comment} required onInput={setComment} />
        <div class="dialog-foot">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" disabled={isEmpty}>
            Silence
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Text({
  label,
  value,
  onInput,
  placeholder = '',
  required = false,
}: {
  label: string;
  value: string;
  onInput: (text: string) => void;
  placeholder?: string;
  required?: boolean;
}) {
  return (
    <label>
      {label}
      <input
        value={value}
        placeholder={placeholder}
        required={required}
        maxLength={500}
        onInput={({ currentTarget }) => onInput(currentTarget.value)}
      />
    </label>
  );
}

/** What the silence would keep back now, and would have in the last 24 h. */
function Preview({ matchers }: { matchers: Matchers }) {
  const isEmpty = pairsOf(matchers).length === 0;
  const { value, error } = useLoaded(JSON.stringify(matchers), async () =>
    isEmpty ? null : api.previewSilence(matchers),
  );
  if (isEmpty) return <p class="notice">Say at least one thing that it matches.</p>;
  if (error !== null) return <Trouble error={error} what="what it would match" />;
  if (value === null) return <p class="notice">…</p>;
  return (
    <p class="notice" role="status">
      {previewText(value)}
    </p>
  );
}

function previewText({ now: present, last_24h: day }: SilencePreview): string {
  return `Matches ${plural(present.alerts.length, 'alert')} now, and ${plural(day.events, 'event')} of the last 24 h.`;
}
